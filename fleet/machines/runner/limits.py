"""What a run may take of its machine, watched by its supervisor: memory, processes, disk.

``RLIMIT_AS`` is never set: Node, Bun, Go and the JVM reserve far more address space than they use.
"""

from __future__ import annotations

import os
import resource
import time

from .facts import LINUX, kill_each
from .files import attempt
from .usage import PAGE, DiskUse, members_of, tasks_of_login

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .files import Json
    from .usage import Member

EVERY, CLOSE = 1.0, 0.2  # seconds between two looks; the second where a limit is near
TOLD = 10  # times that a limit was reached, kept in the exit record
REPEATED = 10  # processes ended for memory before the whole run is ended
SPARE = 64  # processes that the kernel allows above the limit, so that the supervisor sees it reached
NICE, OOM_SCORE = 10, 500
SMALLEST_PID_MAX = 301


class RunnerLimits:
    """One run's limits, and whether it keeps them. A 0 in ``spec``: by what the machine has. Memory: Linux only."""

    def __init__(self, spec: Json) -> None:
        self.use = DiskUse(spec["directories"])
        # Three quarters: one run does not take the machine down.
        self.memory: int = spec["memory"] or os.sysconf("SC_PHYS_PAGES") * PAGE // 4 * 3
        self.processes: int = spec["processes"]
        self.disk: int = spec["disk"] or self.use.free // 4 * 3
        self.due = 0.0
        self.ended: set[tuple[int, str]] = set()
        self.reached: list[Json] = []

    def in_force(self) -> Json:
        return {"memory": self.memory if LINUX else 0, "processes": self.processes, "disk": self.disk}

    def bind(self, contained: bool) -> None:
        """In the run's first process: what the kernel enforces from here on.

        Processes are counted by login: in a namespace only the run's own, otherwise all that the login has.
        """
        wanted = [(resource.RLIMIT_CORE, 0)]
        if LINUX:  # elsewhere a login's processes cannot be told apart cheaply
            others = 0 if contained else tasks_of_login()
            wanted.append((resource.RLIMIT_NPROC, others + self.processes + SPARE))
        if self.disk:
            wanted.append((resource.RLIMIT_FSIZE, self.disk))
        for kind, value in wanted:
            _, most = resource.getrlimit(kind)
            bound = value if most == resource.RLIM_INFINITY else min(value, most)
            attempt(resource.setrlimit, kind, (bound, bound))

    def bind_namespace(self) -> None:
        """As process 1 of a PID namespace: a bound on its processes that holds for root too, whom no rlimit binds.

        Before Linux 6.14 the file is the whole machine's, and is left alone.
        """
        major, _, rest = os.uname().release.partition(".")
        minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        if major.isdigit() and minor and (int(major), int(minor)) >= (6, 14):
            attempt(write, "/proc/sys/kernel/pid_max", str(max(SMALLEST_PID_MAX, self.processes + SPARE)))

    def step(self, now: float, main: int, ours: int, spooled: int) -> bool:
        """Looks once, where it is time; true when the whole run has to end.

        ``ours``: how many generations from ``main`` on are the runner's own. ``spooled``: bytes of output so far.
        """
        if now < self.due:
            return False
        members = members_of(main)
        tasks = sum(member.threads for member in members)
        resident = sum(member.resident for member in members)
        over = False
        if resident > self.memory:
            over = self.shed(members, ours)
        if tasks >= self.processes:
            self.note("processes", self.processes)
            over = True
        grown = spooled + self.use.step(self.disk - spooled, members)
        if self.disk and grown > self.disk:
            self.note("disk", self.disk)
            over = True
        near = tasks > self.processes // 4 or resident > self.memory // 2 or grown > self.disk // 2
        self.due = time.monotonic() + (CLOSE if near or self.use.pieces else EVERY)
        return over

    def at_the_end(self, tasks: int) -> None:
        """Notes a limit that the kernel held between two looks. ``tasks``: left when the command ended."""
        if tasks >= self.processes and not self.reached:
            self.note("processes", self.processes)

    def shed(self, members: list[Member], ours: int) -> bool:
        """Ends the largest processes until the rest keeps the limit; true when that happened too often.

        A large process takes a while to end, on a busy machine seconds: what it still holds is on its way.
        """
        members = [member for member in members if member.life not in self.ended]
        # Twice: of processes that share pages, those that end between two readings leave their part to the others.
        for _ in range(2):
            sizes = [(member.held(), member) for member in members]
            total = sum(size for size, _ in sizes)
            if total <= self.memory:
                return False
        for size, member in sorted(sizes, key=lambda pair: -pair[0]):
            if total <= self.memory:
                break
            if member.depth >= ours:
                self.note("memory", self.memory, member.name())
                kill_each([member.pid])
                total -= size
                self.ended.add(member.life)
        return len(self.ended) >= REPEATED

    def note(self, what: str, limit: int, process: str = "") -> None:
        if len(self.reached) < TOLD:
            self.reached.append({"resource": what, "limit": limit, "process": process})


def lower_priority() -> None:
    """Behind the runner and the controller for the processor; before them when the machine runs out of memory."""
    attempt(os.nice, NICE)
    if LINUX:
        attempt(write, "/proc/self/oom_score_adj", str(OOM_SCORE))


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
