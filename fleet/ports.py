"""What the fleet needs from outside its pure core, as protocols. ``bot/app.py`` is the only place that wires them.

Every port has one contract suite in ``tests/contracts/`` that each implementation passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fleet.agent_events import Decision, Happening, Ruling
from fleet.exits import Exit
from fleet.isolation import UNWALLED, RunIsolation
from fleet.limits import InForce, Reached, RunLimits
from fleet.model import Isolation, Session, Task, Turn
from fleet.verdict import Verdict

# --- Executor: one login on one machine ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ran:
    """A short command that has ended. ``out`` and ``err`` are cut at the limit given to ``run``."""

    exit: Exit
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """What the runner saw of the machine and login it runs as. ``disk_free`` is bytes, ``clock_us`` epoch µs."""

    user: str
    uid: int
    home: str
    host: str
    boot: str  # changes at every boot; equal for two logins of one running machine
    system: str  # "linux" or "darwin"
    python: str
    cpus: int
    load_milli: int  # one-minute load average times 1000
    disk_free: int
    clock_us: int
    contained: bool  # a PID namespace can be made here
    walled: bool  # so can a run's walls: namespaces with a root of its own


@dataclass(frozen=True, slots=True)
class Walls:
    """Namespaces with a root of their own around a process: it sees its ``room`` as ``isolation.INSIDE``, the
    system's directories read-only, and nothing else of the machine.

    ``room`` is a directory on the machine with ``scratch`` in it, which becomes ``/tmp``. ``read``: further
    directories that it may read. ``network``: the machine's network instead of a loopback of its own.
    """

    room: str
    read: tuple[str, ...] = ()
    network: bool = False


@dataclass(frozen=True, slots=True)
class PipeSpec:
    """A process to run behind a durable pipe. Nothing in it may appear in a process list.

    ``id`` is unique for all time; starting it again finds the first one. ``nonce`` is a secret of the controller
    and the supervisor alone: it never comes back, the exit record carries an HMAC-SHA-256 of itself keyed by it.
    ``env`` is added to a clean base (HOME, PATH, USER, LANG) unless ``bare_env``, when it is everything but
    ``AIRBOSS_PIPE=<id>``, which marks every process of the tree so that ``stop`` finds those that left it.
    ``stdin`` keeps standard input open for ``send``; otherwise the process reads end-of-file. ``merge`` sends
    standard error to the output spool too. ``contain`` asks for a PID namespace where the machine has one; with
    ``walls`` (whose paths ``cwd``, ``argv`` and ``env`` then use) it does not start where they cannot be built.
    ``limits``: what it may take of the machine, see ``RunLimits``.
    ``expect_tree`` is (directory, git tree id): the supervisor hashes the directory itself just before the start,
    and does not start on a difference.
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
    timeout_us: int = 0  # 0: none
    grace_us: int = 5_000_000
    expect_tree: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes of the spool that begin at byte ``offset``."""

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
    """The spool cannot be written (a full disk): nothing more is read until it can. Nothing is lost."""

    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing a pipe tells. ``exit`` is ``Lost`` when the record is missing, forged or doubled.

    ``unavailable`` is not empty when the command was never started (program missing, wrong tree).
    ``gone`` is true when the supervisor saw every process of the tree gone.
    """

    exit: Exit
    raw_wait_status: int | None
    started_us: int
    ended_us: int
    contained: bool
    gone: bool
    isolation: RunIsolation = UNWALLED
    limits: InForce | None = None
    reached: tuple[Reached, ...] = ()
    tree: str = ""
    unavailable: str = ""


PipeEvent = Output | Accepted | Pulse | Stalled | Ended


class Executor(Protocol):
    """One login on one machine, reached through the runner.

    Every method raises ``Unreachable`` when the link is down (the runner's processes live on) and
    ``Unavailable`` when the machine answers but cannot (no python3, disk full). Calls are safe to repeat.
    """

    @property
    def machine(self) -> str:
        """The machine's name in ``fleet.toml``."""

    @property
    def root(self) -> str:
        """Absolute path of our directory under this login (``~/.airboss``), known after ``facts``."""

    async def facts(self) -> LoginFacts:
        """Connects if need be, and says who and what answers."""

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
        """Runs a short command to its end; a file given for ``stdin``/``stdout`` is streamed.

        With ``stdout`` a file, at most ``limit`` bytes reach it and more raises ``Unavailable``.
        ``timeout`` is seconds, and is ``TimedOut`` in the result.
        """

    async def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Writes ``path`` atomically, parents included; a relative path is under ``root``."""

    async def read_file(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of a file. Raises ``Unavailable`` when there is none."""

    async def remove_tree(self, path: str) -> None:
        """Removes a directory under ``root`` and all below it; none there is fine."""

    async def start(self, spec: PipeSpec) -> None:
        """Starts the process, or finds that ``spec.id`` was started before."""

    def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
        """The pipe's life from byte ``offset`` of its spool on; ends after ``Ended``. A pipe that is not
        there at all yields ``Ended(Lost(...))``. At least one event every five seconds while it lives."""

    async def send(self, pipe: str, position: int, data: bytes, *, eof: bool = False) -> None:
        """Appends input that begins at byte ``position`` of all input; a repeat is found and ignored."""

    async def stop(self, pipe: str, grace: float = 5.0) -> None:
        """TERM, ``grace`` seconds, KILL, until no process of the tree is left. None there is fine.

        Where the supervisor is dead (on Linux): KILL for what is below it, in its group or session, or still
        carries the pipe's mark in its environment.
        """

    async def tail(self, pipe: str, stream: str, limit: int) -> bytes:
        """The last ``limit`` bytes of the ``out`` or ``err`` spool."""

    async def forget(self, older_than_us: int) -> int:
        """Retention: removes pipes that ended before that age; answers how many."""

    async def close(self) -> None:
        """Drops the link; what runs on the machine goes on."""


# --- AgentDriver: a pure translator -----------------------------------------------------------------

DriverState = dict[str, Any]
"""A driver's own memory as plain JSON, opaque to everyone else; stored beside the spool offset."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture for a model to look at. ``path``: where it lies on the machine, absolute."""

    media_type: str
    data: bytes
    path: str = ""


@dataclass(frozen=True, slots=True)
class Brief:
    """What a driver must know to launch or resume an agent. ``conversation`` is a UUID made by us.

    ``images`` are those of the ``attachments`` that a driver may show to the model at once. ``ask`` are the
    operator's words for what needs a person's yes.
    """

    conversation: str
    prompt: str
    workspace: str
    program: tuple[str, ...]
    model: str = ""
    resume: str = ""  # the agent's own id when an earlier process is to be gone on with
    read_only: bool = False
    attachments: tuple[str, ...] = ()  # absolute paths on the machine
    images: tuple[Image, ...] = ()
    ask: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start the process. ``one_turn``: it ends with its turn, and a further turn is a new process."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    one_turn: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What a driver makes of one thing: its new state, what happened, the bytes to send, whether to close."""

    state: DriverState
    happened: tuple[Happening, ...] = ()
    send: bytes = b""
    eof: bool = False


class AgentDriver(Protocol):
    """Folds an agent's lines into happenings, and decisions into lines. Deterministic."""

    name: str

    def launch(self, brief: Brief) -> Launch:
        """The command for this brief."""

    def open(self, brief: Brief) -> Step:
        """The first state, and the bytes that begin the conversation, the prompt included."""

    def feed(self, state: DriverState, line: bytes) -> Step:
        """One line of output, without its newline. Never raises: what is not understood is ``Unknown``."""

    def oversized(self, state: DriverState, size: int) -> Step:
        """A line of ``size`` bytes beyond the decode cap was passed over (it is in the spool)."""

    def say(self, state: DriverState, text: str) -> Step:
        """A person's or a gate's words: steers the running turn or begins the next one."""

    def decide(self, state: DriverState, ask: str, decision: Decision) -> Step:
        """The answer to an ``Asked``. An ask that is not open gives an empty step."""

    def interrupt(self, state: DriverState) -> Step:
        """Asks the agent to stop its turn."""

    def finish(self, state: DriverState) -> Step:
        """No further turn comes: lets the process end by itself."""

    def ended(self, state: DriverState, exit: Exit) -> Step:
        """The process is gone. A turn that was open ends here (``command`` agents always end so)."""


# --- What the packages above implement ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit that asks to be judged, and where it came from. ``round`` counts its judgements, from 1."""

    task: Task
    session: Session
    turn: Turn
    commit: str
    tree: str
    base: str  # the base-branch commit whose gate definitions count
    round: int


class Gatekeeper(Protocol):
    """Decides. A dispatcher cannot be built without one."""

    async def preflight(self, repo: str, base: str) -> None:
        """Raises ``Refused`` when no change to this repository could ever be judged (no gates defined)."""

    async def judge(self, candidate: Candidate) -> Verdict:
        """Runs what the base branch and the operator demand. Repeating it after a crash is safe."""

    async def abandon(self, task: str) -> None:
        """Ends what runs for a task that a person stopped; a judgement under way then ends and counts nothing."""

    def rule(self, session: Session, task: Task, asked: Any) -> Ruling:
        """Answers an agent's in-band ``Asked`` at once: allow, deny, or ask a person."""


class Clock(Protocol):
    """Waiting, so that tests need not."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""


def isolation_label(isolation: Isolation) -> str:
    """The words for people wherever isolation must be said; empty when there is nothing to warn of."""
    return "" if isolation is Isolation.SEPARATE_LOGINS else "⚠️ unsafe-same-user"
