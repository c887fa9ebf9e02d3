"""``[pools.NAME]``: machines that exist only while work needs them, made and given back by a provider of slots."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from fleet.budgets import parse_money
from fleet.config.budgets import Money
from fleet.config.limits import SECTION
from fleet.config.values import (
    FULL_PATH_PATTERN,
    HOST_PATTERN,
    JOB_PATTERN,
    OPTION_PATTERN,
    PROGRAM_PATTERN,
    Directory,
    Duration,
    Label,
    Login,
    Program,
    Size,
    Variable,
)
from fleet.limits import DEFAULT_PROCESSES


class SlotTarget(BaseModel):
    """Where a slot is: the JSON object that `acquire` prints."""

    model_config = SECTION

    host: Annotated[str, StringConstraints(pattern=HOST_PATTERN, min_length=1, max_length=255)]
    """Its host name or address."""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    """The port of its SSH server."""
    user: Annotated[Login, StringConstraints(min_length=1)]
    """The login that sessions get."""
    host_key: Annotated[str, StringConstraints(max_length=4096)]
    """Its SSH host key as `TYPE BASE64`; any other key is refused."""
    home: Annotated[str, StringConstraints(pattern=FULL_PATH_PATTERN, max_length=1024)] = ""
    """Where the `.airboss` directory is, if not in the login's home."""


class JobTarget(BaseModel):
    """A slot that a batch system holds: its job has the slot's name."""

    model_config = SECTION

    job: Annotated[str, StringConstraints(pattern=JOB_PATTERN, max_length=200)]


Target = SlotTarget | JobTarget


class PoolConfig(BaseModel):
    """A pool of slots. A slot is a machine for one session at a time."""

    model_config = SECTION

    provider: Literal["command", "slurm"]
    """Who makes the slots: `command` runs commands of yours, `slurm` submits a job for each."""
    acquire: Program | None = None
    """command: what makes a slot, or finds the one of that name, and prints where it is as a JSON object."""
    release: Program | None = None
    """command: what ends a slot. It must succeed when there is none of that name (any more)."""
    inventory: Program | None = None
    """command: what prints a JSON list of the names of all that exist. Without it nobody looks for slots that were
    lost or left behind."""
    inventory_every: Duration = "1m"
    """How often it is asked what exists."""
    run_as: Login = ""
    """slurm: the login that submits the jobs, and that sessions get. Empty: the controller's own
    (unsafe-same-user only)."""
    options: list[Annotated[str, StringConstraints(pattern=OPTION_PATTERN, max_length=1024)]] = []
    """slurm: options for `sbatch`, such as `"--partition=long"` or `"--time=8:00:00"`."""
    env: list[Variable] = []
    """Names of variables of `.env` that the commands get."""
    labels: list[Label] = []
    """What its slots offer, matched with the `needs` of tasks: only this decides whether one is made."""
    most: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many there may be at once, those included that are being made or given back."""
    idle: Duration = "10m"
    """How long a slot without a session is kept."""
    price: Money | Literal["0"] = "0"
    """What one costs an hour, in US dollars as text, for example `"0.50"`."""
    acquire_within: Duration = "15m"
    """How long `acquire` may take; then the slot is given back."""
    identity: str = ""
    """Path of the controller's private key. Empty: the key agent and the usual files."""
    path: list[str] = []
    """Directories put before PATH for agents."""
    python: Annotated[str, StringConstraints(pattern=PROGRAM_PATTERN)] = "python3"
    """The Python (3.9 or later) that runs the runner there."""
    session_walls: bool = True
    """Whether a session sees its own workspace only, where walls can be built."""
    agent_read: list[Directory] = []
    """Directories outside the system's own and the login's home that sessions may read."""
    run_memory: Size = ""
    """Memory of one session, for example `8G`. Empty: three quarters of the machine's."""
    run_processes: Annotated[int, Field(ge=16, le=1_000_000)] = DEFAULT_PROCESSES
    """Processes and threads of one session."""
    run_disk: Size = ""
    """How much one session may add to the disk. Empty: three quarters of what is free at its start."""

    home: Annotated[str, StringConstraints(pattern=FULL_PATH_PATTERN, max_length=1024)] = ""
    """slurm: the directory on each node where slots have theirs. Empty: `.airboss-slots` in the login's home."""

    @property
    def has_inventory(self) -> bool:
        """Whether somebody can say what exists."""
        return self.provider == "slurm" or self.inventory is not None

    @property
    def price_udollar(self) -> int:
        """Micro-dollars an hour."""
        return 0 if self.price == "0" else parse_money(self.price)
