"""The structure of ``fleet.toml`` and ``airboss.toml``.

Checks of a single value are in ``values.py``; checks that need two values are in ``checks.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, Strict, StringConstraints

from fleet.config.backups import BackupConfig
from fleet.config.budgets import BudgetConfig, Budgets, PriceConfig
from fleet.config.gates import GateConfig, GateTightening
from fleet.config.limits import SECTION, Limits
from fleet.config.outside import ConsoleConfig, MetricsConfig, TelemetryConfig, WitnessConfig
from fleet.config.pools import PoolConfig
from fleet.config.repo_files import RepoFiles
from fleet.config.reviewers import ReviewerConfig
from fleet.config.setups import SetupConfig
from fleet.config.speech import SpeechConfig
from fleet.config.values import (
    FILTER_PATTERN,
    FULL_PATH_PATTERN,
    HOST_PATTERN,
    ONE_LINE_PATTERN,
    PROGRAM_PATTERN,
    SOCKET_PATTERN,
    Branch,
    Directory,
    EgressHost,
    EndpointUrl,
    GitUrl,
    Id,
    InHome,
    Label,
    LockPatterns,
    Login,
    Logins,
    ModelName,
    Name,
    Need,
    Patterns,
    Ports,
    Program,
    Size,
    Variable,
    size_bytes,
)
from fleet.errors import Misconfigured
from fleet.limits import DEFAULT_PROCESSES, RunLimits
from fleet.model import ForeignPush, Isolation, LandingMode, WithoutWalls


class _Section(BaseModel):
    model_config = SECTION


class LocksConfig(_Section):
    """``[locks]`` in ``airboss.toml``: how tasks are kept off each other's files."""

    mode: Literal["touched", "declared"] = "touched"
    """`touched`: a task locks what it changes, when it changes it. `declared`: it changes what it declared only."""
    groups: dict[Name, LockPatterns] = {}
    """Patterns that belong together: whoever touches one path of a group locks all of it."""


class RepoFile(_Section):
    """``airboss.toml``, read only from the base branch."""

    locks: LocksConfig = LocksConfig()
    """How tasks are kept off each other's files."""

    gates: dict[Name, GateConfig] = {}
    """The repository's gates by name. Without any, no change can ever pass."""

    setup: dict[Name, SetupConfig] = {}
    """What gates and agents need to be installed, by name."""


class HookedLoginConfig(_Section):
    """A person's login on a machine, where hooks reach the controller by a socket."""

    person: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Whose login it is: a name in `[[people]]`."""
    socket: Annotated[str, StringConstraints(pattern=SOCKET_PATTERN)]
    """Where the socket is made there, in a folder that only this login may write."""


class MachineConfig(_Section):
    """A machine: one login for agents and, if possible, another for gates."""

    executor: Literal["local", "ssh"]
    """How to reach it."""
    labels: list[Label] = []
    """Its labels besides those that are found on it, matched with the `needs` of tasks and gates: `ios`, or with a
    version `xcode=26.1`."""
    slots: Annotated[int, Field(ge=1, le=1000)] = 2
    """How many sessions it runs at once."""
    run_as: Logins = []
    """local only: the agents' login; or a list of logins: each task then has one to itself until it ends.
    None: the controller's own (unsafe-same-user only)."""
    gate_as: Logins = []
    """The gates' login; or a list of logins: each run then has one to itself, and as many run at once.
    None: no gates here; with unsafe-same-user, the agents' login."""
    supervise_as: Login = ""
    """With gate_as: the login that supervises runs without walls; it may become each of them by sudo.
    Empty: the run's own login, and the verdict says so."""
    gate_path: list[Directory] = []
    """Directories put before PATH for gates, which may read them: tools outside the system directories."""
    gate_read: list[Directory] = []
    """More directories that gates may read, for what those tools need."""
    session_walls: bool = True
    """Whether an agent's session sees its own workspace only, where the machine can build walls."""
    agent_read: list[Directory] = []
    """Directories outside the system's own and the login's home that sessions may read."""
    run_memory: Size = ""
    """Memory of one gate run or session, for example `8G`. Empty: three quarters of the machine's."""
    run_processes: Annotated[int, Field(ge=16, le=1_000_000)] = DEFAULT_PROCESSES
    """Processes and threads of one gate run or session."""
    run_disk: Size = ""
    """How much one gate run or session may add to the disk. Empty: three quarters of what is free at its start."""
    gates: bool = True
    """Whether gates may run here."""
    host: Annotated[str, StringConstraints(pattern=HOST_PATTERN, max_length=255)] = ""
    """ssh only: host name or address."""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    """ssh only."""
    user: Logins = []
    """ssh only: the agents' login, or a list as for run_as."""
    host_key: str = ""
    """ssh only, required: the machine's public key line, pinned by `airboss machines add`."""
    identity: str = ""
    """ssh only: path of the controller's private key. Empty: the key agent and the usual files."""
    wake: Program | None = None
    """A command, as an argv list, that wakes the machine up: the controller runs it when it is away and work waits
    for it. For example `["wakeonlan", "01:23:45:67:89:ab"]`."""
    keep_awake: bool = True
    """Whether it is kept from going to sleep by itself while a session or gate runs there."""
    login_session: bool = False
    """ssh to a Mac only: agents start in its login session, where the keychain and code signing work
    (`deploy/com.airboss.session.plist`)."""
    path: list[str] = []
    """Directories put before PATH for agents."""
    ports: Ports = "20000-27999"
    """TCP ports for servers that agents start: each task has ten of them, the first is `AIRBOSS_PORT`."""
    python: Annotated[str, StringConstraints(pattern=PROGRAM_PATTERN)] = "python3"
    """The Python (3.9 or later) that runs the runner there."""
    home: Annotated[str, StringConstraints(pattern=FULL_PATH_PATTERN, max_length=1024)] = ""
    """Where the `.airboss` directory is, if not in the login's home."""
    hooks: dict[Login, HookedLoginConfig] = {}
    """ssh only: people's logins there whose hooks may ask this controller."""

    def runs_gates(self, isolation: Isolation) -> bool:
        """Whether a gate can run here: separate logins need a login for gates."""
        return self.gates and (bool(self.gate_as) or isolation is Isolation.UNSAFE_SAME_USER)

    def run_limits(self, *directories: str, memory: str = "") -> RunLimits:
        """The limits of a run that may fill those directories; ``memory``: what it asks for, if less."""
        most, wanted = size_bytes(self.run_memory), size_bytes(memory)
        bound = min(most, wanted) if most and wanted else most or wanted
        return RunLimits(directories, bound, self.run_processes, size_bytes(self.run_disk))

    @property
    def agent_logins(self) -> tuple[str, ...]:
        """The agents' logins (empty: the controller's own)."""
        return tuple(self.user if self.executor == "ssh" else self.run_as) or ("",)

    @property
    def has_agent_pool(self) -> bool:
        """Each session has a login to itself until its task ends."""
        return len(self.agent_logins) > 1

    @property
    def gate_logins(self) -> tuple[str, ...]:
        """The gates' logins, or else the agents' (empty: the controller's own). Check ``runs_gates`` first."""
        return tuple(self.gate_as) or self.agent_logins[:1]

    @property
    def gates_alone(self) -> tuple[str, ...]:
        """Every login of the gates that the agents do not have, the supervising one too."""
        every = (*self.gate_as, *filter(None, [self.supervise_as]))
        return tuple(login for login in every if login not in self.agent_logins)

    @property
    def has_gate_pool(self) -> bool:
        """Each gate run has a login to itself."""
        return len(self.gate_as) > 1 or bool(self.gate_as and self.supervise_as)


class AgentConfig(_Section):
    """A coding agent that can do tasks."""

    driver: Literal["claude", "codex", "acp", "command"]
    """Which protocol it speaks."""
    program: Program
    """The program and its first arguments."""
    model: str = ""
    """The model to request. Empty: the agent's default."""
    models: list[ModelName] = []
    """Further models that people may choose with `/model` or `/run model=…`."""
    family: str = ""
    """The model's vendor family, for reviews by another one. Empty: from the driver and model."""
    env: list[Variable] = []
    """Names of variables whose values come from `.env`."""
    settings: dict[Variable, str] = {}
    """Plain environment values. Secrets belong in `.env`."""
    ask: list[str] = []
    """What needs a person's permission each time: kinds of acts (`shell`, `edit`, `read`, `network`, `mcp`,
    `other`), or an agent's own tools."""
    deny_edits: Patterns = []
    """gitignore patterns of files that the agent is told not to edit."""
    key: Variable | Literal[""] = ""
    """The name of a variable in `.env` with the vendor's key, which a proxy on the machine adds: the agent never
    has it. Claude Code and Codex only."""
    api: EndpointUrl | Literal[""] = ""
    """Where the key goes, if not to the vendor's usual address."""
    egress: list[EgressHost] | None = None
    """The hosts that its sessions may reach, by name (`*.example.com`: everything below), through that proxy. Left
    out: all. An empty list: none but the vendor."""
    account_slots: Annotated[int, Field(ge=1)] | None = None
    """The most slots that its sessions hold at once with one account: on one machine, or with `key` on all. Left
    out: unlimited."""
    login: list[InHome] = []
    """Further files of the vendor's login, relative to the home: sessions share them, none has a copy."""
    price: PriceConfig | None = None
    """What its tokens cost, where it reports no cost."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The models that people may choose."""
        return tuple(dict.fromkeys(filter(None, (self.model, *self.models))))


class RepoConfig(_Section):
    """A repository that changes may land in."""

    url: GitUrl
    """A path or a URL (ssh or https)."""
    base: Branch = "main"
    """The branch that changes land on."""
    mode: Annotated[LandingMode, Strict(False)] = LandingMode.MERGE
    """What becomes of a change that passed: `merge` lands it on the base branch, `branch` pushes it as `airboss/t7`
    for people to merge."""
    foreign_push: Annotated[ForeignPush, Strict(False)] = ForeignPush.JUDGE
    """What follows when somebody else moves the base branch: `judge` judges what waits to land again on it, `stop`
    lands nothing until an admin says so."""
    without_walls: Annotated[WithoutWalls, Strict(False)] = WithoutWalls.ASK
    """What follows when a change passed on a machine where a part of the gates' isolation is missing, and `mode` is
    `merge`: `ask` holds it for a person, `land` lets it land. The verdict names the part either way."""
    land_together: Annotated[int, Field(ge=1, le=100)] = 10
    """How many changes that wait to land are merged onto each other and judged at once; 1: one after the other."""
    agent: str = ""
    """The agent for tasks that name none."""
    needs: list[Need] = []
    """Labels that a machine needs for its tasks, such as `linux` or `xcode>=26`."""
    slots: Annotated[int, Field(ge=1)] | None = None
    """The most slots that its tasks hold at once, over all machines. Left out: unlimited."""
    gates: dict[Name, GateTightening] = {}
    """The operator's own gates, and stricter forms of the repository's."""
    deny_edits: Patterns = []
    """gitignore patterns of files that no agent may edit here."""
    raw_filters: list[Annotated[str, StringConstraints(pattern=FILTER_PATTERN, max_length=64)]] = []
    """Filters of `.gitattributes`, such as `nbstripout`, whose files are taken as they are. A change to a file of
    any other filter goes back to the agent, since no filter runs here."""
    files: RepoFiles = {}
    """Files for agents' workspaces, by their paths in the tree: text, or `{ secret = "NAME" }` for a variable of
    `.env`. They never become part of a change."""
    setup: dict[Name, SetupConfig] = {}
    """More of what gates and agents need to be installed, beside the repository's own."""
    budget: BudgetConfig = BudgetConfig()
    """What its tasks may use together, a day; before `repo` of `[budgets]`."""


class PersonConfig(_Section):
    """A person who may give commands. Others may do nothing."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=ONE_LINE_PATTERN)]
    """The name shown to people."""
    role: Literal["viewer", "operator", "admin"]
    """What they may do."""
    ids: list[Id]
    """Their ids on each platform: `platform:workspace:user`."""
    budget: BudgetConfig = BudgetConfig()
    """What their tasks may use together, a day; before `person` of `[budgets]`."""


def no_longer_named(name: str, kind: str = "repository") -> Misconfigured:
    """The error of what needs something that ``fleet.toml`` does not have."""
    return Misconfigured(
        attempted=f"use the {kind}",
        on=name,
        cause=f"fleet.toml no longer names {kind} {name}",
        hint="Put it back into fleet.toml, or stop the task.",
    )


class FleetConfig(_Section):
    """``fleet.toml``: machines, agents, repositories and people."""

    isolation: Annotated[Isolation, Field(strict=False)] = Isolation.SEPARATE_LOGINS
    """`separate-logins`, or `unsafe-same-user`, which must be set by hand and is shown on every card."""
    machines: dict[Name, MachineConfig] = {}
    """Machines by name."""
    pools: dict[Name, PoolConfig] = {}
    """Pools of slots by name: machines that exist only while work needs them."""
    agents: dict[Name, AgentConfig] = {}
    """Agents by name."""
    repos: dict[Name, RepoConfig] = {}
    """Repositories by name."""
    reviewers: dict[Name, ReviewerConfig] = {}
    """Models that review changes, by name."""
    witnesses: dict[Name, WitnessConfig] = {}
    """Who signs checkpoints of the ledger, by name."""
    witnesses_needed: Annotated[int, Field(ge=0, le=100)] = 0
    """So many must sign each gate's opening before the gate runs. With fewer, nothing lands."""
    people: list[PersonConfig] = []
    """Who may do what."""
    self_approval: bool | None = None
    """Whether people may release or override what they asked for. Not set: only while one person could."""
    limits: Limits = Limits()
    """Limits on how much is accepted."""
    budgets: Budgets = Budgets()
    """What tasks may use."""
    backup: BackupConfig = BackupConfig()
    """Copies of the home, by schedule."""
    telemetry: TelemetryConfig = TelemetryConfig()
    """What the ledger has of what is said."""
    metrics: MetricsConfig = MetricsConfig()
    """Figures for Prometheus."""
    console: ConsoleConfig = ConsoleConfig()
    """Who may open the console."""
    speech: SpeechConfig = SpeechConfig()
    """What writes down voice messages."""

    def repo(self, name: str) -> RepoConfig:
        """The repository of that name. Raises ``Misconfigured`` when ``fleet.toml`` no longer has it."""
        if name not in self.repos:
            raise no_longer_named(name)
        return self.repos[name]

    def agent(self, name: str) -> AgentConfig:
        """The agent of that name. Raises ``Misconfigured`` when ``fleet.toml`` no longer has it."""
        if name not in self.agents:
            raise no_longer_named(name, "agent")
        return self.agents[name]

    def machine(self, name: str) -> MachineConfig:
        """The machine of that name. Raises ``Misconfigured`` when ``fleet.toml`` no longer has it."""
        if name not in self.machines:
            raise no_longer_named(name, "machine")
        return self.machines[name]

    def first_id(self, id_: str) -> str:
        """The first of a person's ids, by any of them; an id of nobody is its own."""
        return next((person.ids[0] for person in self.people if id_ in person.ids), id_)

    def is_same_person(self, first: str, second: str) -> bool:
        """Whether two ids are one person's."""
        return first == second or any({first, second} <= set(person.ids) for person in self.people)
