"""A request that takes time, its fair share of the link, and what it may use of the link."""

from __future__ import annotations

import os

from .frames import frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .files import Json
    from .frames import Problem

WINDOW = 1 << 20  # bytes a stream may be ahead of its reader
FRAME_COST = 256  # credit that a frame with a payload takes beyond its bytes, as the controller counts it
ROOM = 1 << 18  # bytes of frames waiting for the link before producers pause


class Link:
    """What every request shares: this login, the frames on their way out, the requests under way."""

    def __init__(self, root: str) -> None:
        import pwd

        account = pwd.getpwuid(os.getuid())
        self.user, self.home = account.pw_name, account.pw_dir
        self.root = root
        self.directory = self.home if os.path.isdir(self.home) else root  # where commands run by default
        self.jobs: dict[int, Job] = {}
        self.orphans: list[int] = []  # killed children that nobody has waited for
        self.outgoing = bytearray()

    def room(self) -> bool:
        return len(self.outgoing) < ROOM

    def send(self, header: Json, payload: bytes = b"") -> None:
        self.outgoing += frame(header, payload)

    def fail(self, number: int, problem: Problem) -> None:
        # A file's name may hold bytes that are no UTF-8; the link carries text.
        cause = problem.cause.encode("utf-8", "replace").decode()
        self.send({"id": number, "error": problem.kind, "cause": cause})
        self.jobs.pop(number, None)

    def base_env(self, path: list[str]) -> dict[str, str]:
        default = os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
        return {
            "HOME": self.home,
            "USER": self.user,
            "LOGNAME": self.user,
            "LANG": os.environ.get("LANG") or "C.UTF-8",
            "PATH": ":".join([*path, default]),
        }

    def resolve(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))


class Job:
    """One request that takes time. ``wake`` is when ``step`` is due without any descriptor being ready."""

    def __init__(self, serve: Link, number: int) -> None:
        self.serve, self.number = serve, number
        self.credit = WINDOW
        self.wake = 0.0

    def interest(self) -> list[tuple[int, int]]:
        return []

    def step(self, now: float) -> None:
        """Moves on; says at most one chunk."""

    def feed(self, data: bytes, last: bool) -> None:
        """A chunk from the controller."""

    def drop(self) -> None:
        """The controller lost interest, or the link is gone."""

    def say(self, header: Json, payload: bytes = b"") -> None:
        self.credit -= len(payload) + FRAME_COST if payload else 0
        self.serve.send({"id": self.number, **header}, payload)

    def finish(self, header: Json, payload: bytes = b"") -> None:
        self.say({"done": True, **header}, payload)
        self.serve.jobs.pop(self.number, None)

    def may_talk(self) -> bool:
        return self.credit > 0 and self.serve.room()
