"""The structure of ``fleet.toml`` and ``airboss.toml``. Uses pydantic, since files come from outside.

Checks of a single value are here; checks that need two values are in ``checks.py``.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, Strict, StringConstraints
from pydantic_core import PydanticCustomError

from fleet.config.limits import SECTION, Limits
from fleet.errors import Misused
from fleet.globs import Glob
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
    """A problem, in the words shown to the person."""
    return PydanticCustomError("airboss", "{what}", {"what": what, "remedy": remedy})


def duration_us(text: str) -> int:
    """Microseconds in ``90s``, ``10m`` or ``1h`` (already validated)."""
    return int(text[:-1]) * _UNIT_US[text[-1]]


def size_bytes(text: str) -> int:
    """Bytes in ``500M``, ``4G`` or ``1T`` (already validated text); 0 for none."""
    return int(text[:-1]) * _UNIT_BYTES[text[-1]] if text else 0


def _argv(argv: list[str]) -> list[str]:
    if not argv or not argv[0]:
        raise wrong("is empty", 'give the program and its arguments, for example ["python3", "-m", "pytest"]')
    if argv[0].startswith("-"):
        raise wrong(f"starts with an option ({argv[0]!r})", "the first item is the program")
    if any("\0" in item for item in argv):
        raise wrong("contains a NUL byte", "remove it: arguments cannot contain one")
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
        raise wrong(f"is not a repository address ({url!r})", "give a path, or an ssh:// or https:// URL")
    if re.match(r"^[a-z+]+://[^/@]*:[^/@]*@", url):
        raise wrong("contains a password", "remove it: use an SSH key, or git's credential helper")
    if "::" in url or ("://" in url and not _ALLOWED_URL.match(url)):
        raise wrong("uses a transport that could run commands or is not encrypted", "use ssh, https or a path")
    if "://" not in url and not url.startswith(("/", "~", ".")) and ":" in url and not _SCP_LIKE.match(url):
        raise wrong(f"is not a repository address ({url!r})", "give a path, or an ssh:// or https:// URL")
    return url


def _branch(name: str) -> str:
    if not _BRANCH.match(name):
        raise wrong(f"is not a branch name ({name!r})", 'write the short name, for example "main"')
    return name


def _patterns(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        if not pattern.strip() or pattern.startswith("#") or "\n" in pattern or "\0" in pattern:
            raise wrong(f"contains the empty pattern {pattern!r}", 'write gitignore patterns, such as "tests/**"')
    return patterns


def _protection(patterns: list[str]) -> list[str]:
    for pattern in _patterns(patterns):
        if pattern.startswith("!"):
            raise wrong(f"removes protection ({pattern!r})", "list what is protected, without exceptions")
    return patterns


def _lock_patterns(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        try:
            Glob.parse(pattern)
        except Misused as error:
            raise wrong(
                f"has the pattern {pattern!r}: {error.cause}", 'write patterns such as "src/api/**"'
            ) from error
    return patterns


def _person_id(text: str) -> str:
    try:
        person = PersonId.parse(text)
    except ValueError:
        person = PersonId("", "", "")
    if not person.platform or not person.user:
        raise wrong(
            f"is not an id ({text!r})",
            'write "platform:workspace:user", for example "slack:T024BE7LD:U02JPF3AB" or "telegram::12345"',
        )
    return text


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=64)]
Login = Annotated[str, StringConstraints(pattern=LOGIN_PATTERN, max_length=64)]
Variable = Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN, max_length=200)]
Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN)]
Size = Annotated[str, StringConstraints(pattern=SIZE_PATTERN)]
Directory = Annotated[str, StringConstraints(pattern=r"^/[^\x00\n:]*$")]
InHome = Annotated[str, StringConstraints(pattern=r"^[^/\x00\n][^\x00\n]*$", max_length=1024)]
Program = Annotated[list[str], AfterValidator(_argv)]
GateArgv = Annotated[list[str], AfterValidator(_gate_argv)]
Patterns = Annotated[list[str], AfterValidator(_patterns)]
Protection = Annotated[list[str], AfterValidator(_protection)]
LockPatterns = Annotated[list[str], AfterValidator(_lock_patterns)]
Id = Annotated[str, AfterValidator(_person_id)]


class _Section(BaseModel):
    model_config = SECTION


class LayerName(StrEnum):
    """The layers against tampering that can be switched off; docs/gates.md says what each does."""

    TOOLS = "tools"
    PROTECTED = "protected"
    BASELINE = "baseline"
    CANARIES = "canaries"
    SCAN = "scan"


Layers = Annotated[list[Annotated[LayerName, Strict(False)]], Field(json_schema_extra={"uniqueItems": True})]


class GateConfig(_Section):
    """A check that a change must pass: ``[gates.NAME]`` in ``airboss.toml``."""

    run: GateArgv
    """The command as an argv list, never a shell line. `{junit}` becomes a path outside the checkout."""
    timeout: Duration = "10m"
    """How long it may run: a whole number followed by `s`, `m` or `h`."""
    needs: list[Name] = []
    """Labels that a machine needs to run it."""
    protected: Protection = []
    """gitignore patterns of files that a change may not touch."""
    rework_turns: Annotated[int, Field(ge=0, le=20)] = 3
    """How many turns the agent gets to fix a failure."""
    env: dict[Variable, str] = {}
    """Plain environment values for the command."""
    network: bool = False
    """Whether it may use the machine's network. Otherwise it has loopback only."""
    memory: Size = ""
    """The memory that it may use, for example `4G`; at most the machine's `run_memory`, also the default."""
    layers: Layers = list(LayerName)
    """The layers against tampering that are on. All of them, unless the list is shorter."""

    @property
    def timeout_us(self) -> int:
        """``timeout`` in microseconds."""
        return duration_us(self.timeout)


class GateTightening(_Section):
    """``[repos.R.gates.NAME]`` in ``fleet.toml``: the operator's own gate, or a stricter form of the repository's.

    All fields are optional for a gate that the repository defines; any other gate needs ``run``.
    """

    run: GateArgv | None = None
    """As in `airboss.toml`. Leave it out for a gate that the repository defines."""
    timeout: Duration | None = None
    """At most the repository's."""
    needs: list[Name] | None = None
    """Added to the repository's labels."""
    protected: Protection | None = None
    """Added to the repository's patterns."""
    rework_turns: Annotated[int, Field(ge=0, le=20)] | None = None
    """At most the repository's."""
    env: dict[Variable, str] | None = None
    """For the operator's own gates only: another environment makes it another command."""
    network: bool | None = None
    """False removes the network that the repository asks for."""
    layers: Layers | None = None
    """Switched on in addition to the repository's."""
    memory: Size | None = None
    """At most the repository's."""


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


class MachineConfig(_Section):
    """A machine: one login for agents and, if possible, another for gates."""

    executor: Literal["local", "ssh"]
    """How to reach it."""
    labels: list[Name] = []
    """Its labels, matched with the `needs` of tasks and gates."""
    slots: Annotated[int, Field(ge=1, le=1000)] = 2
    """How many sessions it runs at once."""
    run_as: Login = ""
    """local only: the agents' login. Empty: the controller's own (unsafe-same-user only)."""
    gate_as: Login = ""
    """The gates' login. Empty: no gates here; with unsafe-same-user, the agents' login."""
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
    user: Login = ""
    """ssh only: the agents' login."""
    host_key: str = ""
    """ssh only, required: the machine's public key line, pinned by `airboss machines add`."""
    identity: str = ""
    """ssh only: path of the controller's private key. Empty: the key agent and the usual files."""
    path: list[str] = []
    """Directories put before PATH for agents."""
    python: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/~_.][^\x00\n]*$")] = "python3"
    """The Python (3.9 or later) that runs the runner there."""
    home: str = ""
    """Where the `.airboss` directory is, if not in the login's home."""

    def runs_gates(self, isolation: Isolation) -> bool:
        """Whether a gate can run here: separate logins need a login for gates."""
        return self.gates and (bool(self.gate_as) or isolation is Isolation.UNSAFE_SAME_USER)

    def run_limits(self, *directories: str, memory: str = "") -> RunLimits:
        """The limits of a run that may fill those directories; ``memory``: what it asks for, if less."""
        most, wanted = size_bytes(self.run_memory), size_bytes(memory)
        bound = min(most, wanted) if most and wanted else most or wanted
        return RunLimits(directories, bound, self.run_processes, size_bytes(self.run_disk))

    @property
    def agent_login(self) -> str:
        """The agents' login; empty: the controller's own."""
        return self.user if self.executor == "ssh" else self.run_as

    @property
    def gate_login(self) -> str:
        """The gates' login, or else the agents'. Check ``runs_gates`` first."""
        return self.gate_as or self.agent_login


class AgentConfig(_Section):
    """A coding agent that can do tasks."""

    driver: Literal["claude", "codex", "command"]
    """Which protocol it speaks."""
    program: Program
    """The program and its first arguments."""
    model: str = ""
    """The model to request. Empty: the agent's default."""
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
    login: list[InHome] = []
    """Further files of the vendor's login, relative to the home: sessions share them, none has a copy."""


class RepoConfig(_Section):
    """A repository that changes may land in."""

    url: Annotated[str, AfterValidator(_url)]
    """A path or a URL (ssh or https)."""
    base: Annotated[str, AfterValidator(_branch)] = "main"
    """The branch that changes land on."""
    agent: str = ""
    """The agent for tasks that name none."""
    gates: dict[Name, GateTightening] = {}
    """The operator's own gates, and stricter forms of the repository's."""
    deny_edits: Patterns = []
    """gitignore patterns of files that no agent may edit here."""


class PersonConfig(_Section):
    """A person who may give commands. Others may do nothing."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
    """The name shown to people."""
    role: Literal["viewer", "operator", "admin"]
    """What they may do."""
    ids: list[Id]
    """Their ids on each platform: `platform:workspace:user`."""


class ConsoleConfig(_Section):
    """Who may open the console on this machine (`airboss chat`)."""

    group: str = ""
    """A group of logins; its members that `people` lists as `console:HOST:LOGIN` may use it. Empty: only the
    controller's own login."""


class FleetConfig(_Section):
    """``fleet.toml``: machines, agents, repositories and people."""

    isolation: Annotated[Isolation, Field(strict=False)] = Isolation.SEPARATE_LOGINS
    """`separate-logins`, or `unsafe-same-user`, which must be set by hand and is shown on every card."""
    machines: dict[Name, MachineConfig] = {}
    """Machines by name."""
    agents: dict[Name, AgentConfig] = {}
    """Agents by name."""
    repos: dict[Name, RepoConfig] = {}
    """Repositories by name."""
    people: list[PersonConfig] = []
    """Who may do what."""
    limits: Limits = Limits()
    """Limits on how much is accepted."""
    console: ConsoleConfig = ConsoleConfig()
    """Who may open the console."""
