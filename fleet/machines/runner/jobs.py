"""Requests that take time, and the part of the link that they may use."""

from __future__ import annotations

import os
import time

from .frames import frame
from .own_places import own_places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .files import Json
    from .frames import RequestError

WINDOW = 1 << 20  # how many bytes a stream may be ahead of its reader
FRAME_COST = 256  # credit charged per frame with a payload; the controller counts the same
LOOKS = 3.0  # a look at all processes is not repeated for so many times as long as it took
ROOM = 1 << 18  # bytes waiting for the link at which producers pause


class Link:
    """State that requests share: this login, the outgoing frames, the requests in progress."""

    def __init__(self, root: str) -> None:
        from .facts import login_home, login_name

        self.user, self.home = login_name(), login_home()
        self.root = root
        self.directory = self.home if os.path.isdir(self.home) else root  # the default directory of commands
        self.jobs: dict[int, RunnerJob] = {}
        self.orphans: list[int] = []  # killed children not yet reaped
        self.outgoing = bytearray()
        self.waiting: dict[int, RunnerJob] = {}  # for room on the link
        self.looked_at = self.look_after = 0.0
        self.left: dict[str, list[int]] = {}  # as of then

    def room(self) -> bool:
        return len(self.outgoing) < ROOM

    def wake_waiting(self) -> None:
        """Wakes what waits for room, if there is room now."""
        if self.waiting and self.room():
            for job in self.waiting.values():
                job.wake = 0.0
            self.waiting.clear()

    def send(self, header: Json, payload: bytes = b"") -> None:
        self.outgoing += frame(header, payload)

    def fail(self, number: int, problem: RequestError) -> None:
        # A file name may contain bytes that are not UTF-8; the link carries text.
        cause = problem.cause.encode("utf-8", "replace").decode()
        self.send({"id": number, "error": problem.kind, "cause": cause})
        self.jobs.pop(number, None)

    def left_by(self, pipe: str, since: float) -> Optional[list[int]]:
        """The processes with a pipe's mark, by a look that began after ``since``; None: ask again after
        ``look_after``. A look at all processes is long: pipes that end together share one."""
        from .facts import marked

        if self.looked_at <= since:
            if time.monotonic() < self.look_after:
                return None
            self.looked_at = time.monotonic()
            self.left = marked()
            self.look_after = time.monotonic() + LOOKS * (time.monotonic() - self.looked_at)
        return self.left.get(pipe, [])

    def base_env(self, path: list[str]) -> dict[str, str]:
        """What a command has around it. ``path`` is searched first, the login's own programs last: none of them
        takes the place of the system's git or sh."""
        last = [place for place in own_places(self.home) if place not in path]
        default = os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
        return {
            "HOME": self.home,
            "USER": self.user,
            "LOGNAME": self.user,
            "LANG": os.environ.get("LANG") or "C.UTF-8",
            "PATH": ":".join([*path, default, *last]),
        }

    def resolve(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))


class RunnerJob:
    """One request that takes time. ``wake`` is when ``step`` is due even if no descriptor is ready."""

    def __init__(self, serve: Link, number: int) -> None:
        self.serve, self.number = serve, number
        self.credit = WINDOW
        self.wake = 0.0

    def interest(self) -> list[tuple[int, int]]:
        return []

    def woken(self) -> None:
        """One of the descriptors of ``interest`` is ready; ``step`` comes next."""

    def step(self, now: float) -> None:
        """Makes progress; sends at most one chunk."""

    def feed(self, data: bytes, last: bool) -> None:
        """A chunk from the controller."""

    def drop(self) -> None:
        """The controller cancelled the request, or the link is gone."""

    def say(self, header: Json, payload: bytes = b"") -> None:
        self.credit -= len(payload) + FRAME_COST if payload else 0
        self.serve.send({"id": self.number, **header}, payload)

    def finish(self, header: Json, payload: bytes = b"") -> None:
        self.say({"done": True, **header}, payload)
        self.serve.jobs.pop(self.number, None)

    def may_talk(self) -> bool:
        return self.credit > 0 and self.serve.room()

    def wait_to_talk(self, now: float) -> None:
        """Credit wakes it when it comes, and room on the link."""
        self.wake = now + 0.02
        if not self.serve.room():
            self.serve.waiting[self.number] = self
