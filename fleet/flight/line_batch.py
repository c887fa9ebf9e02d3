"""The output lines of a session that a follower has read and not committed yet, folded by the session's driver."""

from __future__ import annotations

from fleet.agent_events import Asked, Happening, TurnEnded
from fleet.agents.framing import Line, Oversized
from fleet.flight.commits import Ruled
from fleet.flight.services import state_of
from fleet.model import Session
from fleet.ports import AgentDriver, Step


class LineBatch:
    """Starts from the committed ``session``. It is of no use once there is a newer one: drivers are pure, so the
    lines are folded again from that."""

    def __init__(self, session: Session) -> None:
        self.session, self.state, self.offset = session, state_of(session), session.spool_offset
        self.happened: list[Happening] = []
        self.ruled: list[Ruled] = []
        self.send, self.eof, self.over = b"", False, False
        self.read = 0  # lines

    def add(self, driver: AgentDriver, line: Line | Oversized) -> list[Asked]:
        """Folds one line; returns what the agent asks in it."""
        if isinstance(line, Oversized):
            step = driver.oversized(self.state, line.size)
        else:
            step = driver.feed(self.state, line.data)
        self.take(step)
        self.happened += step.happened
        self.offset, self.read = line.end, self.read + 1
        self.over = any(isinstance(item, TurnEnded) for item in step.happened)
        return [item for item in step.happened if isinstance(item, Asked)]

    def take(self, step: Step) -> None:
        """Takes a step's state and its input for the process, not what happened."""
        self.state, self.send, self.eof = step.state, self.send + step.send, self.eof or step.eof

    @property
    def urgent(self) -> bool:
        """Whether somebody waits: the agent for its input, a person for an answer or the turn's end."""
        return bool(self.send or self.eof or self.ruled or self.over)

    @property
    def for_people(self) -> int:
        """How many questions in it wait for a person."""
        return sum(each.decision is None for each in self.ruled)

    @property
    def size(self) -> int:
        """Bytes of output."""
        return self.offset - self.session.spool_offset

    def step(self) -> Step:
        """All of its lines as one step."""
        return Step(self.state, tuple(self.happened), self.send, self.eof)
