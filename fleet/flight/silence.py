"""Notices an agent that may hang: no output and no open tool call for ``stalled_after``. A person is asked, once.

The question is a row like those of turns that stopped early. New output withdraws it; after that it may come again.
"""

from __future__ import annotations

from typing import Final

from fleet.agents.lines import left_open
from fleet.config.values import duration_us
from fleet.events import AgentSaid, AgentSilent, ToolCallEnded, ToolCallStarted
from fleet.flight.services import Services, state_of
from fleet.model import AIRBOSS, Session, Turn
from fleet.store import approvals, stalls
from fleet.store.core import Tx
from fleet.store.recent import in_a_call, last_events
from fleet.store.recording import record

WORKS_AGAIN = "the agent works again"
_NOBODY_LOOKED_US: Final = 5 * 60_000_000
_DONE = (ToolCallStarted.KIND, ToolCallEnded.KIND, AgentSaid.KIND)


class Silence:
    """Follows one process's signs of life, by the clock that the fleet has."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._heard_us = self._looked_us = 0
        self._asked = self._new_life = False

    async def begin(self, session: Session) -> None:
        """A turn is followed from now on. What an earlier controller asked still waits."""
        self._heard_us = self._looked_us = self._services.clock.now_us()
        self._new_life = False
        asked = await self._services.store.read(lambda tx: stalls.waiting(tx, session.task))
        self._asked = asked is not None

    def heard(self) -> None:
        """The agent wrote something."""
        self._heard_us, self._new_life = self._services.clock.now_us(), True

    async def look(self, session: Session, turn: Turn) -> None:
        """Asks a person when it is time, and withdraws the question after new output."""
        now_us = self._services.clock.now_us()
        if now_us - self._looked_us >= _NOBODY_LOOKED_US:
            self._heard_us = now_us  # the link was down, or we slept: it gets its time from now on
        self._looked_us = now_us
        if self._asked:
            if self._new_life:
                await self._services.store.write(lambda tx: _revived(tx, session, turn))
                self._asked = False
            return
        silent_us = now_us - self._heard_us
        if silent_us < duration_us(self._services.config().limits.stalled_after) or left_open(state_of(session)):
            return
        self._new_life = False
        self._asked = await self._services.store.write(lambda tx: _ask(tx, session, turn, silent_us // 1_000_000))


def _ask(tx: Tx, session: Session, turn: Turn, seconds: int) -> bool:
    """Whether a person was asked: not while the agent itself waits for a tool, or for a person's answer."""
    if in_a_call(tx, session) or approvals.waiting(tx, session.task):
        return False
    last = _last(tx, session.task)
    minutes = f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
    approvals.open_stall(tx, session=session, commit="", tree="", reason=f"no output for {minutes}", trouble=last)
    record(tx, AgentSilent(True, seconds, last), session, turn=turn.id)
    return True


def _revived(tx: Tx, session: Session, turn: Turn) -> None:
    if stalls.withdraw(tx, session.task, by=AIRBOSS, why=WORKS_AGAIN) is not None:
        record(tx, AgentSilent(False, 0, ""), session, turn=turn.id)


def _last(tx: Tx, task: str) -> str:
    """The last thing that the agent did."""
    for recorded in last_events(tx, 1, kinds=_DONE, task=task):
        match recorded.event:
            case ToolCallStarted(tool=tool, summary=summary):
                return f"{tool} {summary}"[:200]
            case ToolCallEnded(outcome=outcome):
                started = last_events(tx, 1, kinds=(ToolCallStarted.KIND,), task=task)
                names = [
                    f"{e.event.tool} {e.event.summary}" for e in started if isinstance(e.event, ToolCallStarted)
                ]
                return f"{(names or ['a tool'])[0][:180]} ({outcome})"
            case AgentSaid(text=text):
                lines = text.strip().splitlines()
                return f"“{lines[-1][:180]}”" if lines else ""
    return ""
