"""Following a pipe to its end, and stopping one, from the link's side."""

from __future__ import annotations

import os
import select
import time

from .facts import LINUX, boot, kill_each, marked, start_time, tree_of
from .files import CHUNK, read_path
from .frames import RequestError
from .jobs import Link, RunnerJob
from .pipes import alive, frozen, notify, starting, state, status, watch
from .sweeping import refuses

PULSE_SECONDS = 4.0
GIVE_UP_SECONDS = 10.0  # how long to wait for killed processes to end


class AttachJob(RunnerJob):
    """Follows a pipe from a byte offset to its end."""

    def __init__(self, serve: Link, number: int, directory: str, offset: int) -> None:
        super().__init__(serve, number)
        self.directory, self.offset = directory, offset
        self.fd = -1
        self.pause = 0.002
        self.accepted = -1
        self.stalled = ""
        self.seen_alive = True
        self.checked_at = 0.0
        self.pulsed_at = 0.0
        self.give_up = 0.0
        self.gone_at = 0.0  # when its supervisor was seen to be gone, or what it left was killed
        self.watched = -1  # a descriptor that is readable once its supervisor has ended
        self.over = False

    def interest(self) -> list[tuple[int, int]]:
        return [(self.watched, select.POLLIN)] if self.watched >= 0 and not self.over else []

    def woken(self) -> None:
        self.over, self.wake = True, 0.0

    def step(self, now: float) -> None:
        if now < self.wake:
            return
        if not self.may_talk():
            self.wake = now + 0.02  # at once, 200 streams keep both cores from whoever reads them (ADR 145)
            return
        if self.fd < 0:
            try:
                self.fd = os.open(os.path.join(self.directory, "out"), os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                if not starting(self.directory):
                    self.end("there is no such pipe")
                self.wake = now + 0.01
                return
        # Checks liveness before the spool: if the supervisor is gone by now, it has already written everything.
        if self.over:
            self.seen_alive = False
        elif now - self.checked_at > (0.05 if LINUX else PULSE_SECONDS / 2) or self.recorded():
            self.seen_alive = alive(self.directory)
            self.checked_at = now
            if self.watched < 0 and self.seen_alive:
                self.watched = watch(self.directory)
        self.send_status(now)
        data = os.pread(self.fd, CHUNK, self.offset)
        if data:
            self.say({"ev": "out", "offset": self.offset}, data)
            self.offset += len(data)
            self.pause, self.wake = 0.002, now
        elif not self.seen_alive:
            self.end_leftovers(now)
        else:
            self.pause = min(0.1, self.pause * 1.3)
            self.wake = now + self.pause

    def end_leftovers(self, now: float) -> None:
        """A command that killed its supervisor may have left processes; they are ended before the end is
        reported."""
        self.gone_at = self.gone_at or time.monotonic()
        left = self.serve.left_by(os.path.basename(self.directory), self.gone_at)
        if left is None:
            self.wake = self.serve.look_after
            return
        self.give_up = self.give_up or now + GIVE_UP_SECONDS
        if left and now < self.give_up:
            kill_each(left)
            self.gone_at, self.wake = time.monotonic(), now + 0.02
        else:
            self.end("")

    def recorded(self) -> bool:
        return os.path.lexists(os.path.join(self.directory, "exit"))

    def send_status(self, now: float) -> None:
        told = status(self.directory)
        accepted, stalled = told.get("accepted", 0), told.get("stalled", "")
        if accepted > max(self.accepted, 0):
            self.say({"ev": "accepted", "position": accepted})
            self.pause = 0.002
        self.accepted = accepted
        due = now - self.pulsed_at >= PULSE_SECONDS
        if stalled and (due or stalled != self.stalled):
            self.say({"ev": "stalled", "why": stalled})
        if due and self.seen_alive:
            self.say({"ev": "pulse"})
            self.pulsed_at = now
        self.stalled = stalled

    def end(self, missing: str) -> None:
        record = read_path(os.path.join(self.directory, "exit"))
        doubled = os.path.lexists(os.path.join(self.directory, "doubled"))
        self.finish(
            {"ev": "end", "missing": missing, "doubled": doubled, "recorded": record is not None}, record or b""
        )
        self.close()

    def close(self) -> None:
        for fd in (self.fd, self.watched):
            if fd >= 0:
                os.close(fd)

    def drop(self) -> None:
        self.close()
        self.serve.jobs.pop(self.number, None)


class StopJob(RunnerJob):
    """Waits until the supervisor has ended the tree; ends it here when the supervisor is dead."""

    def __init__(self, serve: Link, number: int, directory: str, grace: float) -> None:
        super().__init__(serve, number)
        self.directory = directory
        self.give_up = time.monotonic() + grace + GIVE_UP_SECONDS  # its supervisor gives up before
        self.order = b"s%d\n" % int(grace * 1e6)
        self.ordered = False

    def step(self, now: float) -> None:
        if now < self.wake:
            return
        self.wake = now + 0.02
        if not self.ordered:
            self.ordered = notify(self.directory, self.order)
        if starting(self.directory):
            return
        if frozen(self.directory):  # a neighbour of its login stopped it: it will not end anything
            kill_each([state(self.directory)["pid"]])
        left = [] if (supervised := alive(self.directory)) else leftovers(self.directory)
        kill_each(left)
        if not supervised and all(map(refuses, left)):  # what only root can end is in the record
            self.finish({})
        elif now > self.give_up:
            self.serve.fail(
                self.number, RequestError("unavailable", "processes of the tree did not end when killed")
            )


def leftovers(directory: str) -> list[int]:
    """The processes left by a pipe whose supervisor is dead."""
    left = set(marked().get(os.path.basename(directory), []))
    told = status(directory)
    main = told.get("main", 0)
    # Without its leader a group's id may have been reused: only processes at least as old as the leader are ours.
    if main and state(directory).get("boot") == boot() and start_time(main) in ("", told.get("start")):
        left.update(tree_of(main))
    return sorted(left)
