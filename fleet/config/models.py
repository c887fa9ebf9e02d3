"""The shapes of ``fleet.toml`` and ``airboss.toml``. Pydantic, because files are an edge of the house.

A value is judged here when it can be judged alone; what needs two values is in ``checks.py``.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from fleet.limits import DEFAULT_PROCESSES, RunLimits
from fleet.model import Isolation, PersonId

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
LOGIN_PATTERN = r"^$|^[A-Za-z0-9_][A-Za-z0-9._-]*$"
HOST_PATTERN = r"^$|^[A-Za-z0-9:\[][A-Za-z0-9:\[\]._%-]*$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
DURATION_PATTERN = r"^[1-9][0-9]{0,6}(s|m|h)$"
SIZE_PATTERN = r"^$|^[1-9][0-9]{0,5}(M|G|T)$"

_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_UNIT_BYTES = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ALLOWED_URL = re.compile(r"^(https|ssh|file)://[^-\s]")
_SCP_LIKE = re.compile(r"^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*:[^:-]")
_BRANCH = re.compile(r"^(?!.*(\.\.|//|@\{|\.lock(/|$)|/\.))[A-Za-z0-9_][^\x00-\x20~^:?*\[\\\x7f]*(?<![./])$")


def wrong(what: str, remedy: str) -> PydanticCustomError:
    """A problem in the words that the person will read."""
    return PydanticCustomError("airboss", "{what}", {"what": what, "remedy": remedy})


def duration_us(text: str) -> int:
    """Microseconds in ``90s``, ``10m`` or ``1h`` (already validated text)."""
    return int(text[:-1]) * _UNIT_US[text[-1]]


def size_bytes(text: str) -> int:
    """Bytes in ``500M``, ``4G`` or ``1T`` (already validated text); 0 for none."""
    return int(text[:-1]) * _UNIT_BYTES[text[-1]] if text else 0


def _argv(argv: list[str]) -> list[str]:
    if not argv or not argv[0]:
        raise wrong("is empty", 'give the program and its arguments, for example ["python3", "-m", "pytest"]')
    if argv[0].startswith("-"):
        raise wrong(f"begins with an option ({argv[0]!r})", "the first item is the program")
    if any("\0" in item for item in argv):
        raise wrong("contains a NUL byte", "remove it: no program can be given one")
    return argv


def _gate_argv(argv: list[str]) -> list[str]:
    for item in _argv(argv):
        for found in _PLACEHOLDER.findall(item):
            if found != "junit":
                raise wrong(
                    f"has the unknown placeholder {{{found}}}",
                    "{junit} is the only one; put other braces into a script in the repository",
                )
    return argv


def _url(url: str) -> str:
    if not url or url.startswith("-") or any(ch < " " for ch in url):
        raise wrong(f"is no address of a repository ({url!r})", "give a path, or an ssh:// or https:// URL")
    if re.match(r"^[a-z+]+://[^/@]*:[^/@]*@", url):
        raise wrong("carries a password", "take it out: use an SSH key, or git's credential helper")
    if "::" in url or ("://" in url and not _ALLOWED_URL.match(url)):
        raise wrong("uses a transport that could run commands or is not encrypted", "use ssh, https or a path")
    if "://" not in url and not url.startswith(("/", "~", ".")) and ":" in url and not _SCP_LIKE.match(url):
        raise wrong(f"is no address of a repository ({url!r})", "give a path, or an ssh:// or https:// URL")
    return url


def _branch(name: str) -> str:
    if not _BRANCH.match(name):
        raise wrong(f"is no branch name ({name!r})", 'write the short name, for example "main"')
    return name


def _patterns(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        if not pattern.strip() or pattern.startswith("#") or "\n" in pattern or "\0" in pattern:
            raise wrong(f"holds the empty pattern {pattern!r}", 'write gitignore patterns, such as "tests/**"')
    return patterns


def _protection(patterns: list[str]) -> list[str]:
    for pattern in _patterns(patterns):
        if pattern.startswith("!"):
            raise wrong(f"takes protection away ({pattern!r})", "name what is protected, without exceptions")
    return patterns


def _person_id(text: str) -> str:
    try:
        person = PersonId.parse(text)
    except ValueError:
        person = PersonId("", "", "")
    if not person.platform or not person.user:
        raise wrong(
            f"is no id ({text!r})",
            'write "platform:workspace:user", for example "slack:T024BE7LD:U02JPF3AB" or "telegram::12345"',
        )
    return text


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=64)]
Login = Annotated[str, StringConstraints(pattern=LOGIN_PATTERN, max_length=64)]
Variable = Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN, max_length=200)]
Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN)]
Size = Annotated[str, StringConstraints(pattern=SIZE_PATTERN)]
Directory = Annotated[str, StringConstraints(pattern=r"^/[^\x00\n:]*$")]
Program = Annotated[list[str], AfterValidator(_argv)]
GateArgv = Annotated[list[str], AfterValidator(_gate_argv)]
Patterns = Annotated[list[str], AfterValidator(_patterns)]
Protection = Annotated[list[str], AfterValidator(_protection)]
Id = Annotated[str, AfterValidator(_person_id)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class GateConfig(_Shape):
    """A check that a change must pass: ``[gates.NAME]`` in ``airboss.toml``."""

    run: GateArgv
    """The command as an argv list, never a shell line. `{junit}` becomes a path outside the checkout."""
    timeout: Duration = "10m"
    """How long it may run: a whole number and `s`, `m` or `h`."""
    needs: list[Name] = []
    """Labels that a machine must have to run it."""
    protected: Protection = []
    """gitignore patterns of files that a change may not touch."""
    rework_turns: Annotated[int, Field(ge=0, le=20)] = 3
    """How many turns the agent gets back when it is red."""
    env: dict[Variable, str] = {}
    """Plain environment values for the command."""
    network: bool = False
    """Whether it may use the machine's network. Without, it has a loopback of its own and nothing else."""
    memory: Size = ""
    """Memory that it may use, for example `4G`. Empty, or more than the machine's `run_memory`: that."""

    @property
    def timeout_us(self) -> int:
        """``timeout`` in microseconds."""
        return duration_us(self.timeout)


class GateTightening(_Shape):
    """``[repos.R.gates.NAME]`` in ``fleet.toml``: a gate of the operator's, or a stricter form of the repository's.

    Every field may be left out for a gate that the repository defines; ``run`` is needed for any other.
    """

    run: GateArgv | None = None
    """As in `airboss.toml`. For a gate that the repository defines: leave it out."""
    timeout: Duration | None = None
    """Shorter than the repository's, or the same."""
    needs: list[Name] | None = None
    """Added to the repository's labels."""
    protected: Protection | None = None
    """Added to the repository's patterns."""
    rework_turns: Annotated[int, Field(ge=0, le=20)] | None = None
    """Fewer than the repository's, or as many."""
    env: dict[Variable, str] | None = None
    """For the operator's own gates only: another environment is another command."""
    network: bool | None = None
    """False takes away the network that the repository asks for."""
    memory: Size | None = None
    """Less than the repository's."""


class RepoFile(_Shape):
    """``airboss.toml``, read from the base branch and nowhere else."""

    gates: dict[Name, GateConfig] = {}
    """The repository's gates by name. None at all means that no change can ever pass."""


class MachineConfig(_Shape):
    """A machine, seen as one login for agents and, wherever possible, another one for gates."""

    executor: Literal["local", "ssh"]
    """How it is reached."""
    labels: list[Name] = []
    """What it has, for the `needs` of tasks and gates."""
    slots: Annotated[int, Field(ge=1, le=1000)] = 2
    """How many sessions it carries at once."""
    run_as: Login = ""
    """local only: the login that agents run as. Empty: the controller's own (unsafe-same-user only)."""
    gate_as: Login = ""
    """The login that gates run as. Empty: no gates here; with unsafe-same-user, the agents' login."""
    gate_path: list[Directory] = []
    """Directories put before PATH for gates, which may read them: tools outside the system's own directories."""
    gate_read: list[Directory] = []
    """Further directories that gates may read: what those tools need."""
    run_memory: Size = ""
    """Memory of one gate run or session, for example `8G`. Empty: three quarters of the machine's."""
    run_processes: Annotated[int, Field(ge=16, le=1_000_000)] = DEFAULT_PROCESSES
    """Processes and threads of one gate run or session."""
    run_disk: Size = ""
    """What one gate run or session may add to the disk. Empty: three quarters of what is free at its start."""
    gates: bool = True
    """Whether gates may run here."""
    host: Annotated[str, StringConstraints(pattern=HOST_PATTERN, max_length=255)] = ""
    """ssh only: host name or address."""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    """ssh only."""
    user: Login = ""
    """ssh only: the login that agents run as."""
    host_key: str = ""
    """ssh only, required: the machine's public key line, pinned by `airboss machines add`."""
    identity: str = ""
    """ssh only: path of the controller's private key. Empty: the key agent and the usual files."""
    path: list[str] = []
    """Directories put before PATH for agents."""
    python: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/~_.][^\x00\n]*$")] = "python3"
    """The Python (3.9 or later) that runs the runner there."""
    home: str = ""
    """Where our `.airboss` directory lives instead of the login's home."""

    def runs_gates(self, isolation: Isolation) -> bool:
        """Whether a gate may ever run here: separate logins need one for gates."""
        return self.gates and (bool(self.gate_as) or isolation is Isolation.UNSAFE_SAME_USER)

    def run_limits(self, *directories: str, memory: str = "") -> RunLimits:
        """The limits of a run that may fill those directories; ``memory``: what it asks for, if that is less."""
        most, wanted = size_bytes(self.run_memory), size_bytes(memory)
        bound = min(most, wanted) if most and wanted else most or wanted
        return RunLimits(directories, bound, self.run_processes, size_bytes(self.run_disk))

    @property
    def agent_login(self) -> str:
        """The login of agents; empty: the controller's own."""
        return self.user if self.executor == "ssh" else self.run_as

    @property
    def gate_login(self) -> str:
        """The login of gates, falling back to the agents'. Ask ``runs_gates`` first."""
        return self.gate_as or self.agent_login


class AgentConfig(_Shape):
    """A coding agent that can be asked to do a task."""

    driver: Literal["claude", "codex", "command"]
    """Which protocol it speaks."""
    program: Program
    """The program and its first arguments."""
    model: str = ""
    """The model to ask for. Empty: the agent's own default."""
    family: str = ""
    """The vendor family, for reviews by another one. Empty: by driver."""
    env: list[Variable] = []
    """Names of variables whose values come from `.env`."""
    settings: dict[Variable, str] = {}
    """Plain environment values. No secrets: those belong in `.env`."""
    ask: list[str] = []
    """What needs a person's yes each time: kinds of acts (`shell`, `edit`, `read`, `network`, `mcp`, `other`), or
    an agent's own tools."""
    deny_edits: Patterns = []
    """gitignore patterns of files that the agent is told not to edit."""


class RepoConfig(_Shape):
    """A repository that changes may land in."""

    url: Annotated[str, AfterValidator(_url)]
    """A path or a URL (ssh or https)."""
    base: Annotated[str, AfterValidator(_branch)] = "main"
    """The branch that changes land on."""
    agent: str = ""
    """The agent that works here when a task names none."""
    gates: dict[Name, GateTightening] = {}
    """The operator's own gates, and stricter forms of the repository's."""
    deny_edits: Patterns = []
    """gitignore patterns of files that no agent may edit here."""


class PersonConfig(_Shape):
    """Somebody who may do something. Whoever is not listed may do nothing."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
    """For people to read."""
    role: Literal["viewer", "operator", "admin"]
    """What they may do."""
    ids: list[Id]
    """Their ids on each platform: `platform:workspace:user`."""


class Limits(_Shape):
    """How much of anything we take before we say no."""

    decode_cap: Annotated[int, Field(ge=65536)] = 8 << 20
    """Bytes of one agent line that are decoded; the rest goes to the spool and is counted."""
    snapshot_bytes: Annotated[int, Field(ge=1)] = 512 << 20
    """Bytes of objects in a snapshot."""
    snapshot_objects: Annotated[int, Field(ge=1)] = 200_000
    """Objects in a snapshot."""
    snapshot_paths: Annotated[int, Field(ge=1)] = 100_000
    """Paths in a snapshot."""
    unpack_seconds: Annotated[int, Field(ge=1)] = 120
    """Seconds that unpacking a snapshot may take."""
    spool_retention_days: Annotated[int, Field(ge=1)] = 14
    """Days that a machine keeps what an agent said."""
    chat_retention_days: Annotated[int, Field(ge=1)] = 30
    """Days that messages, files and pressed buttons of chats are kept; the ledger is kept for good."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often a gate runs when it is lost or unavailable."""
    approval_hours: Annotated[int, Field(ge=1)] = 8
    """Hours until a question to a person counts as no."""


class FleetConfig(_Shape):
    """``fleet.toml``: the only truth about machines, agents, repositories and people."""

    isolation: Annotated[Isolation, Field(strict=False)] = Isolation.SEPARATE_LOGINS
    """`separate-logins`, or `unsafe-same-user`, which must be written by hand and is shown on every card."""
    machines: dict[Name, MachineConfig] = {}
    """Machines by name."""
    agents: dict[Name, AgentConfig] = {}
    """Agents by name."""
    repos: dict[Name, RepoConfig] = {}
    """Repositories by name."""
    people: list[PersonConfig] = []
    """Who may do what."""
    limits: Limits = Limits()
    """How much of anything we take before we say no."""
