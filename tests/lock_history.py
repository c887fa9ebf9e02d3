"""Is a recorded history of one lock linearizable? After Wing and Gong: some order of the operations, each between
its call and its return, must be one that a single lock with leases could have had.

Times are seconds of one clock that all recording processes share. An operation whose answer was lost may have
happened or not, between its call and the moment when its caller knew that no answer comes (``returned`` before
``called``: nobody knew). The lock's own clock is not recorded: a lease may have run out by an
operation's return if the earliest time of its grant and the lease's length allow it, and cannot have run out before
its call if the latest time does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fleet.events import Event, LocksGranted, LocksReleased


def check_grants(events: Iterable[Event]) -> None:
    """What the ledger says of locks: tokens without a gap, and never two holders of one thing at one store time."""
    last: dict[str, int] = {}
    held: dict[str, str] = {}
    for event in events:
        if isinstance(event, LocksGranted):
            for resource, token in zip(event.resources, event.tokens, strict=True):
                assert resource not in held, f"{resource} was granted while {held.get(resource)} had it"
                assert token == last.get(resource, 0) + 1
                last[resource], held[resource] = token, event.hold
        elif isinstance(event, LocksReleased):
            for resource in event.resources:
                assert held.pop(resource) == event.hold
    assert last


class Kind(StrEnum):
    """What was asked for."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    RELEASE = "release"
    EFFECT = "effect"


class Answer(StrEnum):
    """What came back. ``LOST``: nothing did."""

    YES = "yes"
    NO = "no"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. ``hold`` names what an acquire would create, and what the others are about. ``waits``: an acquire
    that stands in line. ``behind``: one that was refused because another has waited longer."""

    kind: Kind
    hold: str
    answer: Answer
    called: float
    returned: float
    token: int = 0
    waits: bool = False
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock between two operations: its holder, the bounds of when that was granted, and the last token."""

    hold: str = ""
    earliest: float = 0.0
    latest: float = 0.0
    token: int = 0


def linearizable(history: Sequence[Operation], lease: float) -> bool:
    """Whether one lock whose leases last ``lease`` seconds could have given these answers."""
    operations = sorted(
        (replace(op, returned=math.inf) if op.returned < op.called else op for op in history),
        key=lambda op: op.called,
    )
    if not all(_overtakes_nobody(op, operations) for op in operations if op.behind):
        return False
    everything = (1 << len(operations)) - 1
    lost = sum(1 << at for at, op in enumerate(operations) if op.answer is Answer.LOST)
    seen: set[tuple[int, Lock]] = set()
    todo = [(0, Lock())]
    while todo:
        done, lock = todo.pop()
        if done | lost == everything:
            return True  # what was lost need not have happened
        if (done, lock) in seen:
            continue
        seen.add((done, lock))
        open_ = [at for at in range(len(operations)) if not done >> at & 1]
        first_return = min(operations[at].returned for at in open_ if not lost >> at & 1)
        for at in open_:
            called = operations[at].called
            if called > first_return:
                break
            over = sum(1 << other for other in open_ if lost >> other & 1 and operations[other].returned < called)
            todo += [(done | over | 1 << at, after) for after in _after(lock, operations[at], lease)]
    return False


def _after(lock: Lock, op: Operation, lease: float) -> list[Lock]:
    """What the lock can be after an operation that gave its answer; nothing where it cannot have given it."""
    found: list[Lock] = []
    if op.answer in (Answer.YES, Answer.LOST):
        found += _yes(lock, op, lease)
    if op.answer is Answer.NO:
        found += _no(lock, op, lease)
    return found


def _yes(lock: Lock, op: Operation, lease: float) -> list[Lock]:
    granted = Lock(op.hold, op.called, op.returned, lock.token)
    match op.kind:
        case Kind.ACQUIRE:
            token = lock.token + 1
            right = op.answer is Answer.LOST or op.token == token
            free = not lock.hold or _may_be_over(lock, op, lease)
            return [replace(granted, token=token)] if right and free else []
        case Kind.EFFECT:
            return [lock] if lock.hold == op.hold else []
        case Kind.RENEW:
            return [granted] if lock.hold == op.hold else []
        case Kind.RELEASE:
            return [Lock(token=lock.token)] if lock.hold == op.hold else []


def _no(lock: Lock, op: Operation, lease: float) -> list[Lock]:
    if op.kind is Kind.ACQUIRE:
        return [lock] if op.behind or (lock.hold and op.called < lock.latest + lease) else []
    if lock.hold != op.hold:
        return [lock]
    return [Lock(token=lock.token)] if _may_be_over(lock, op, lease) else []


def _may_be_over(lock: Lock, op: Operation, lease: float) -> bool:
    return op.returned >= lock.earliest + lease


def _overtakes_nobody(op: Operation, operations: Sequence[Operation]) -> bool:
    """Whether somebody really stood in line while ``op`` was refused for that."""
    return any(
        other.waits and other is not op and other.called < op.returned and op.called < other.returned
        for other in operations
    )
