"""Tries a turn again that stopped early for a reason that passes, a few times, before a person is asked.

A model that did not answer is asked again after a pause; a lost conversation is replaced by a new one. Which try it
is follows from the stored turns alone, so it is the same after a restart.
"""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import takewhile
from typing import Final

from fleet.agent_events import TurnOutcome
from fleet.agents.resets import resets_us
from fleet.flight import prompts
from fleet.flight.agent_process import AgentProcess
from fleet.flight.halting import before_retry
from fleet.flight.moves import running
from fleet.flight.services import Services
from fleet.flight.stalling import Heard
from fleet.flight.waits import Waits
from fleet.model import Session, Task, Turn, TurnCause
from fleet.store import sessions, tasks

_FIRST_PAUSE_S: Final = 2.0
_GROWS: Final = 3.0
_LONGEST_PAUSE_S: Final = 300.0
_DIFF_BYTES: Final = 20_000
#: A 429 that is about the rate of requests, not about what an account may use.
_TOO_FAST: Final = re.compile(r"too many requests|rate.?limit|\b429\b", re.IGNORECASE)
_USED_UP: Final = re.compile(
    r"usage|session|dail|\bday|week|month|hour|credit|quota|spend|your (?!rate)\w* ?limit", re.IGNORECASE
)


class Retrying:
    """One task's turns that are tried again."""

    def __init__(self, services: Services, agent: AgentProcess, waits: Waits, heard: Heard) -> None:
        self._services, self._agent, self._waits, self._heard = services, agent, waits, heard

    async def retried(self, task: Task, session: Session, turn: Turn) -> bool:
        """Starts the next try, or waits for its time; False when a person must be asked."""
        turns = await self._services.store.read(lambda tx: sessions.turns(tx, session.id))
        lost = turn.outcome is TurnOutcome.CONVERSATION_LOST
        if not (lost or overloaded(turn)):
            return False
        tries = len(list(takewhile(_lost if lost else overloaded, reversed(turns))))
        if tries > (1 if lost else self._services.config().limits.overloaded_retries):
            return False
        if await before_retry(self._services, task, session, turn):
            return False
        await self._agent.gone(session)
        session = await self._services.store.read(lambda tx: sessions.newest(tx, task.id))
        if session.pipe_end.lost:
            return False
        if await self._heard(task, session):
            return True
        if lost:
            why = "the conversation was lost: a new one continues the task"
            text = await self._as_it_was(task, session, turns)
            await self._agent.go_on(session, TurnCause.RETRY, text, running(task, self._services.config(), why))
            return True
        left = pause_us(turn, tries) - (self._services.clock.now_us() - turn.ended_us)
        most = self._services.config().limits.overloaded_retries
        if left > 0:
            why = f"{prompts.stalled(turn)}; trying again in {max(1, left // 1_000_000)} s ({tries} of {most})"
            await self._services.store.write(lambda tx: tasks.explain(tx, task.id, why))
            await self._waits.wait(left / 1_000_000)
            return True
        text = prompts.go_on(prompts.stalled(turn))
        then = running(task, self._services.config(), f"try {tries} of {most}")
        await self._agent.go_on(session, TurnCause.RETRY, text, then)
        return True

    async def _as_it_was(self, task: Task, session: Session, turns: list[Turn]) -> str:
        """What the lost turn was told, the words of a gate among it, and the work so far."""
        asked = turns[-1].prompt
        taken = next((turn.snapshot for turn in reversed(turns) if turn.snapshot), "")
        if not taken:
            return asked
        patch = await self._services.repositories(task.repo).diff(session.base, taken, _DIFF_BYTES)
        return prompts.with_work(asked, patch.decode("utf-8", "replace"), cut=len(patch) >= _DIFF_BYTES)


def overloaded(turn: Turn) -> bool:
    """Whether the model could not answer just then: overloaded, out of reach, or too many requests without a reset
    hour."""
    if turn.outcome is TurnOutcome.OVERLOADED:
        return True
    words = turn.error
    limited = turn.outcome is TurnOutcome.LIMITED and not resets_us(words, turn.ended_us)
    return limited and _TOO_FAST.search(words) is not None and _USED_UP.search(words) is None


def pause_us(turn: Turn, tries: int) -> int:
    """How long to wait before a try: growing, and spread so that tasks do not ask at the same moment."""
    spread = 1 + sha256(turn.id.encode()).digest()[0] / 1024
    return int(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * _GROWS ** (tries - 1)) * spread * 1_000_000)


def _lost(turn: Turn) -> bool:
    return turn.outcome is TurnOutcome.CONVERSATION_LOST
