"""What agents used, which anyone can recompute from the ledger: by task, and by person, repository and day.

A report without a cost leaves its tokens unpriced until the same process reports a cost, which covers all tokens
before it. What was imported is not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import add
from typing import Final

from fleet.budgets import SLOT_US, Scope
from fleet.events import (
    BudgetGranted,
    PipeEnded,
    Recorded,
    SessionPlaced,
    Source,
    TaskRequested,
    ToolCallStarted,
    TurnClosed,
    TurnClosedV1,
    TurnStarted,
    UsageReported,
)
from fleet.model import TurnCause

ATTEMPTS: Final = frozenset({TurnCause.REQUEST, TurnCause.REWORK, TurnCause.RETRY})
"""The causes of turns that count as attempts: no person asked for one more."""

_SPLIT_US: Final = 2 * 86_400_000_000


@dataclass(frozen=True, slots=True, order=True)
class UsageKey:
    """Whose use, by which agent, in which quarter of an hour (0 for a task: all of it)."""

    scope: Scope
    name: str
    slot: int
    agent: str

    def row(self) -> dict[str, str | int]:
        """For the store: plain values."""
        return {"scope": str(self.scope), "name": self.name, "slot": self.slot, "agent": self.agent}


@dataclass(frozen=True, slots=True)
class Whose:
    """Whom a session works for."""

    agent: str
    task: str
    repo: str
    person: str

    def keys(self, slot: int) -> Iterator[UsageKey]:
        """Where its use counts."""
        yield UsageKey(Scope.TASK, self.task, 0, self.agent)
        yield UsageKey(Scope.PERSON, self.person, slot, self.agent)
        yield UsageKey(Scope.REPO, self.repo, slot, self.agent)
        yield UsageKey(Scope.DAY, "", slot, self.agent)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used. ``unpriced_…`` are the tokens that no report of a cost covers."""

    cost_udollar: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced_input: int = 0
    unpriced_output: int = 0
    calls: int = 0
    attempts: int = 0
    time_us: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(add, self.amounts().values(), other.amounts().values()))

    def __bool__(self) -> bool:
        return any(self.amounts().values())

    def amounts(self) -> dict[str, int]:
        """Each by its name. The library's ``asdict`` copies each of them, which takes ten times as long."""
        return {name: getattr(self, name) for name in self.__slots__}


def slot_of(time_us: int) -> int:
    """The quarter of an hour."""
    return time_us // SLOT_US


def grant_slot(scope: Scope, time_us: int) -> int:
    """Where a grant counts: a task's always."""
    return 0 if scope is Scope.TASK else slot_of(time_us)


def turn_time(began_us: int, ended_us: int) -> Iterator[tuple[int, Usage]]:
    """How long a turn ran, by quarter of an hour, so that each day gets its part; nothing if a clock was set back.

    What is more than two days ago is in no limit any more, and counts where it began.
    """
    at = max(began_us, ended_us - _SPLIT_US)
    if at > began_us:
        yield slot_of(began_us), Usage(time_us=at - began_us)
    while at < ended_us:
        upto = min(ended_us, (slot_of(at) + 1) * SLOT_US)
        yield slot_of(at), Usage(time_us=upto - at)
        at = upto


class UsageCounter:
    """Counts ledger events in order. A test compares it with what the store keeps."""

    def __init__(self) -> None:
        self.used: defaultdict[UsageKey, Usage] = defaultdict(Usage)
        self.unpriced: dict[tuple[str, int], tuple[int, int]] = {}
        self.grants: defaultdict[tuple[str, str, str, int], int] = defaultdict(int)
        self._tasks: dict[str, tuple[str, str]] = {}
        self._whose: dict[str, Whose] = {}
        self._began: dict[str, int] = {}

    def fold(self, events: Iterable[Recorded]) -> None:
        """Counts the events."""
        for recorded in events:
            if recorded.source is not Source.IMPORT:
                self._count(recorded)

    def _count(self, recorded: Recorded) -> None:
        refs, at = recorded.refs, recorded.time_us
        match recorded.event:
            case TaskRequested(repo=repo):
                self._tasks[refs.task] = repo, recorded.actor
            case SessionPlaced(agent=agent) if refs.task in self._tasks:
                self._whose[refs.session] = Whose(agent, refs.task, *self._tasks[refs.task])
            case BudgetGranted() as granted:
                slot = grant_slot(Scope(granted.scope), at)
                self.grants[granted.scope, granted.name, granted.measure, slot] += granted.amount
        if refs.session not in self._whose:
            return
        match recorded.event:
            case UsageReported() as used:
                self._report(refs.session, at, used)
            case ToolCallStarted():
                self._add(refs.session, slot_of(at), Usage(calls=1))
            case TurnStarted(cause=cause):
                self._began[refs.turn] = at
                if cause in ATTEMPTS:
                    self._add(refs.session, slot_of(at), Usage(attempts=1))
            case TurnClosed() | TurnClosedV1() if refs.turn in self._began:
                for slot, taken in turn_time(self._began[refs.turn], at):
                    self._add(refs.session, slot, taken)
            case PipeEnded():
                for key in [key for key in self.unpriced if key[0] == refs.session]:
                    del self.unpriced[key]

    def _report(self, session: str, at: int, used: UsageReported) -> None:
        taken = Usage(used.cost_udollar, used.input_tokens, used.output_tokens)
        if used.cost_udollar:
            for key in [key for key in self.unpriced if key[0] == session]:
                tokens_in, tokens_out = self.unpriced.pop(key)
                self._add(session, key[1], Usage(unpriced_input=-tokens_in, unpriced_output=-tokens_out))
        else:
            taken += Usage(unpriced_input=used.input_tokens, unpriced_output=used.output_tokens)
            before = self.unpriced.get((session, slot_of(at)), (0, 0))
            self.unpriced[session, slot_of(at)] = before[0] + used.input_tokens, before[1] + used.output_tokens
        self._add(session, slot_of(at), taken)

    def _add(self, session: str, slot: int, taken: Usage) -> None:
        for key in self._whose[session].keys(slot):
            self.used[key] += taken
