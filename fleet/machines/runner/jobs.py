"""A request that takes time, and its fair share of the link."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .files import Json
    from .serve import Serve

WINDOW = 1 << 20  # bytes a stream may be ahead of its reader


class Job:
    """One request that takes time. ``wake`` is when ``step`` is due without any descriptor being ready."""

    def __init__(self, serve: Serve, number: int) -> None:
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
        self.credit -= len(payload)
        self.serve.send({"id": self.number, **header}, payload)

    def finish(self, header: Json, payload: bytes = b"") -> None:
        self.say({"done": True, **header}, payload)
        self.serve.jobs.pop(self.number, None)

    def may_talk(self) -> bool:
        return self.credit > 0 and self.serve.room()
