"""What the core needs from outside. Each port has one suite in ``tests/contracts/``; ``bot/app.py`` wires them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fleet import bounds
from fleet.agent_events import Asked, Decision, Happening, Ruling
from fleet.exits import Exit, Streams
from fleet.isolation import UNWALLED, Alone, EgressSeen, Proxy, RunIsolation, Walls
from fleet.limits import InForce, Reached, RunLimits
from fleet.locks import LockRefusal
from fleet.model import Isolation, Session, Task, Turn
from fleet.tree_ports import TreeKeeper
from fleet.verdict import Verdict

if TYPE_CHECKING:
    from fleet.store.core import Precondition

# --- Executor: one login on one machine ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ran:
    """A short command that has ended. ``out`` and ``err`` are cut at ``run``'s limit."""

    exit: Exit
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """Facts from the runner about its machine and login. ``disk_free`` is bytes, ``clock_us`` epoch µs."""

    user: bounds.Name
    uid: bounds.Uid
    home: bounds.AbsolutePath
    host: bounds.Name
    boot: bounds.Name  # changes at every boot; equal for two logins of one running machine
    system: bounds.Name  # "linux" or "darwin"
    python: bounds.Version
    cpus: bounds.Cpus
    load_milli: bounds.Load  # one-minute load average times 1000
    disk_free: bounds.Size
    clock_us: bounds.Micros
    contained: bool  # a PID namespace can be made here
    walled: bool  # a run's walls can be built here: namespaces with their own root file system
    layered: bool = False  # so can a session's walls, with its own layer over the home directory
    arch: bounds.Label = ""
    release: bounds.Label = ""  # of macOS, or of the kernel
    memory: bounds.Size = 0  # bytes; 0: not known
    memory_free: bounds.Size = 0


@dataclass(frozen=True, slots=True)
class LoginOffers:
    """What a login's machine offers, by the login's own word. ``programs``: of those asked for, what each says to
    its arguments; ``xcode``: the same; ``simulators``: the (name, runtime) of each."""

    programs: bounds.Programs
    xcode: bounds.Says
    simulators: bounds.Simulators


@dataclass(frozen=True, slots=True)
class PipeSpec:
    """A process to run behind a durable pipe. Nothing in it may appear in a process list.

    ``id`` is unique forever; starting it again finds the first process. ``nonce`` is known only to the controller
    and the supervisor: the exit record carries an HMAC-SHA-256 of itself keyed by it. ``env`` is added to a clean
    base (HOME, PATH, USER, LANG) unless ``bare_env``; then it is everything except ``AIRBOSS_PIPE=<id>``, which
    marks every process of the tree so that ``stop`` finds those that left it. ``stdin``: standard input stays open.
    ``merge`` also sends standard error to the spool. ``contain``: in a PID namespace where one can be made. It
    starts only where its ``walls`` can be built. ``expect_trees``: (directory, tree id): the supervisor hashes each
    just before the start, does not start when one differs, records the first. ``beside``: paths in them that a
    setup made. ``large``: full paths of files whose tree has pointers of Git LFS. ``submodules``: (full path,
    commit, its tree) each. ``alone``: it has its login to itself. ``keep_awake``: the machine stays awake.
    ``proxy``: its key reaches the memory of the supervisor and of the proxy, nothing else.
    """

    id: str
    nonce: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    bare_env: bool = False
    stdin: bool = False
    merge: bool = False
    contain: bool = False
    walls: Walls | None = None
    limits: RunLimits | None = None
    alone: Alone | None = None
    proxy: Proxy | None = None
    timeout_us: int = 0  # 0: none
    grace_us: int = 5_000_000
    keep_awake: bool = False
    expect_trees: tuple[tuple[str, str], ...] = ()
    beside: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    submodules: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes of the spool that start at byte ``offset``."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """Input up to byte ``position`` has been written to the process."""

    position: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """The supervisor was seen alive at ``at_us`` (the controller's clock)."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Stalled:
    """The spool cannot be written (a full disk): reading pauses until it can. Nothing is lost."""

    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a pipe. ``exit`` is ``Lost`` when the record is missing, forged or not the only one.

    ``unavailable`` says why the command was never started; empty when it was. ``gone``: its whole tree ended.
    ``login`` is the one it ran as, seen from inside; ``left`` are lines about what it left behind there.
    """

    exit: Exit
    raw_wait_status: int | None
    started_us: int
    ended_us: int
    contained: bool
    gone: bool
    isolation: RunIsolation = UNWALLED
    login: str = ""
    left: tuple[str, ...] = ()
    limits: InForce | None = None
    reached: tuple[Reached, ...] = ()
    egress: EgressSeen | None = None
    streams: Streams | None = None
    tree: str = ""
    unavailable: str = ""


PipeEvent = Output | Accepted | Pulse | Stalled | Ended


class Executor(TreeKeeper, Protocol):
    """One login on one machine, reached through the runner. Every method raises ``Unreachable`` when the link is
    down (the runner's processes live on) and ``Unavailable`` when the machine answers but fails (no python3, disk
    full). Calls are safe to repeat."""

    @property
    def machine(self) -> str:
        """The machine's name in ``fleet.toml``."""

    @property
    def root(self) -> str:
        """Absolute path of our directory under this login (``~/.airboss``); known after ``facts``."""

    async def facts(self) -> LoginFacts:
        """Connects if necessary and returns facts about the login and machine."""

    async def offers(self, programs: Mapping[str, Sequence[str]]) -> LoginOffers:
        """Looks for these programs, by label; one with further arguments says something, such as its version."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path = b"",
        stdout: Path | None = None,
        timeout: float = 60.0,
        limit: int = 1 << 20,
    ) -> Ran:
        """Runs a short command to its end; files given as ``stdin`` or ``stdout`` are streamed.

        With ``stdout`` a file, output beyond ``limit`` bytes raises ``Unavailable``. ``timeout`` is in seconds;
        when it passes, the result's exit is ``TimedOut``.
        """

    async def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Writes ``path`` atomically and creates parent directories; a relative path is under ``root``."""

    async def read_file(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of a file. Raises ``Unavailable`` when it does not exist."""

    async def remove_tree(self, path: str) -> None:
        """Removes a directory under ``root`` with its content; a missing one is fine."""

    async def start(self, spec: PipeSpec) -> None:
        """Starts the process, unless ``spec.id`` was started before."""

    def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
        """Yields the pipe's events from byte ``offset`` of its spool; the last is ``Ended``. A pipe that does not
        exist yields ``Ended(Lost(...))``. While it lives there is at least one event every five seconds."""

    async def send(self, pipe: str, position: int, data: bytes, *, eof: bool = False) -> int:
        """Appends input from byte ``position`` of all input on, but no repeat; answers how many bytes there are."""

    async def stop(self, pipe: str, grace: float = 5.0) -> None:
        """Sends TERM, waits ``grace`` seconds, sends KILL, until the whole process tree has ended; a missing pipe
        is fine. If the supervisor is dead (on Linux): KILL to its descendants, its group and session, and to every
        process that carries the pipe's mark in its environment."""

    async def tail(self, pipe: str, stream: str, limit: int) -> bytes:
        """The last ``limit`` bytes of the ``out`` or ``err`` spool."""

    async def forget(self, older_than_us: int, keep: Collection[str] = ()) -> int:
        """Retention: removes pipes that ended before that time, except ``keep``; returns how many."""

    async def close(self) -> None:
        """Closes the link; what runs on the machine continues."""


# --- AgentDriver: a pure translator -----------------------------------------------------------------

DriverState = dict[str, Any]
"""A driver's own state as plain JSON, opaque to everything else; stored beside the spool offset."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture for a model. ``path``: absolute, on the machine."""

    media_type: str
    data: bytes
    path: str = ""


@dataclass(frozen=True, slots=True)
class Brief:
    """What a driver must know to launch or resume an agent. ``conversation`` is a UUID made by us.

    ``images`` are those of the ``attachments`` that a driver may show to the model directly. ``ask`` are the
    operator's words for what needs a person's permission.
    """

    conversation: str
    prompt: str
    workspace: str
    program: tuple[str, ...]
    model: str = ""
    resume: str = ""  # the agent's own conversation id, to continue an earlier process
    read_only: bool = False
    attachments: tuple[str, ...] = ()  # absolute paths on the machine
    images: tuple[Image, ...] = ()
    ask: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start the process. ``one_turn``: it ends with its turn, and another turn needs a new process."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    one_turn: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A driver's result: its new state, what happened, bytes to send, and whether to close the input."""

    state: DriverState
    happened: tuple[Happening, ...] = ()
    send: bytes = b""
    eof: bool = False


class AgentDriver(Protocol):
    """Turns an agent's lines into events, and decisions into lines. Deterministic."""

    name: str
    ends_itself: bool  # soon after the end of its input

    def launch(self, brief: Brief) -> Launch:
        """The command for this brief."""

    def open(self, brief: Brief) -> Step:
        """The first state, and the bytes that start the conversation, including the prompt."""

    def feed(self, state: DriverState, line: bytes) -> Step:
        """Reads one line of output, without its newline. Never raises: unknown lines become ``Unknown``."""

    def oversized(self, state: DriverState, size: int) -> Step:
        """A line of ``size`` bytes exceeded the decode limit and was skipped (the spool has it)."""

    def say(self, state: DriverState, text: str) -> Step:
        """Text from a person or a gate: steers the running turn or starts the next one."""

    def decide(self, state: DriverState, ask: str, decision: Decision) -> Step:
        """Answers an ``Asked``. An ask that is not open gives an empty step."""

    def interrupt(self, state: DriverState) -> Step:
        """Asks the agent to stop its turn."""

    def finish(self, state: DriverState) -> Step:
        """No more turns follow: lets the process end."""

    def ended(self, state: DriverState, exit: Exit) -> Step:
        """The process has ended. An open turn ends here (``command`` agents always end this way)."""


# --- What gates implements ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit to judge, and where it came from. ``round`` counts its judgements, from 1."""

    task: Task
    session: Session
    turn: Turn
    commit: str
    tree: str
    base: str  # the base-branch commit whose gate definitions apply
    round: int


class Gatekeeper(Protocol):
    """Decides what passes. A dispatcher cannot be built without one."""

    async def preflight(self, repo: str, base: str) -> None:
        """Raises ``RepositoryUnusable`` when no change there can be judged; ``OriginAway``: a submodule is away."""

    async def set_up(self, task: Task, session: Session) -> None:
        """Builds what the gates of the session's base need, before its agent starts. Raises ``SetupFailed``."""

    async def judge(self, candidate: Candidate) -> Verdict:
        """Runs the gates that the base branch and the operator require. May be repeated. Raises as `preflight`."""

    async def stands(self, candidate: Candidate) -> bool:
        """Whether a verdict on it is one by today's gates; else :meth:`judge` again runs those that changed."""

    async def abandon(self, task: str) -> None:
        """Ends what runs for a task that a person stopped; its judgement then ends and does not count."""

    async def close_left(self, task: str) -> None:
        """Ends and closes what a task that has ended left open: nobody judges it any more."""

    async def withdraw(self, candidate: Candidate) -> None:
        """Ends the judgement of a merge that is made anew. The same commit may be judged again in a later round."""

    def rule(self, session: Session, task: Task, asked: Asked) -> Ruling:
        """Answers an agent's ``Asked`` immediately: allow, deny, or ask a person."""


class Locks(Protocol):
    """Keeps sessions, on whatever machine, off what another one holds."""

    def wakes(self, wake: Callable[[str], None]) -> None:
        """Sets who is told, on the event loop, that a task may have got what it waits for."""

    def waits(self, task: Task) -> str:
        """What a task in line for its locks waits for; empty: it is its turn, or it was never told to wait."""

    async def claim(self, task: Task) -> str:
        """Takes all that a task declared, or keeps its place in line: why it waits then, else empty."""

    async def edit(self, session: Session, task: Task, asked: Asked) -> Ruling:
        """Takes what the agent is about to edit: ``Allow``, or ``Deny`` with the holder's name."""

    async def changed(self, session: Session, task: Task, commit: str) -> LockRefusal | None:
        """Takes what a snapshot changed beyond what is held, or says why it may not count then."""

    async def landing(self, task: Task, base: str, commit: str) -> Sequence[Precondition]:
        """All that the intent to land must be written under. Raises ``LocksWanted`` while another holds it."""


class Clock(Protocol):
    """Time, so that tests do not have to wait."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""


def isolation_label(isolation: Isolation) -> str:
    """The warning about isolation that people see; empty when there is nothing to warn about."""
    return "" if isolation is Isolation.SEPARATE_LOGINS else "⚠️ unsafe-same-user"
