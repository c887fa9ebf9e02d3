"""Rows of holds and locks. What overlaps, and who may have what, is decided in ``gates/locks``; this only keeps it.

A hold's lease is a row of ``leases``: its time, and the fence that an effect carries. Its name is never used again.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, and_, bindparam, delete, func, insert, literal, or_, select, update

from fleet.errors import LeaseLost
from fleet.locks import Granted, Hold, HoldEnd, Lock, LockCause, LockMode, Resource, lease_of
from fleet.store import leases
from fleet.store.core import Tx
from fleet.store.leases import Fence, Lease, Term
from fleet.store.lock_tables import holds, lock_tokens, locks
from fleet.store.statements import Statement
from fleet.store.tables import leases as leases_table
from fleet.store.tables import sessions

_SEPARATOR: Final = "\x1f"
"""Stands between the names of a head: below every character that a name may have, so that ranges work."""

_ABOVE: Final = "\x20"
_AT_ONCE: Final = 500

_WITH_LEASE = select(
    holds,
    leases_table.c.holder.label("lease_holder"),
    leases_table.c.expires_us,
    leases_table.c.boot,
    leases_table.c.since_us.label("lease_since_us"),
    leases_table.c.lasts_us,
).outerjoin(leases_table, leases_table.c.name == literal("lock:").concat(holds.c.id))
_HOLD = Statement(_WITH_LEASE.where(holds.c.id == bindparam("wanted")))
_OPEN_OF_TASK = Statement(_WITH_LEASE.where(holds.c.task == bindparam("wanted"), holds.c.ended_us == 0))
_OPEN_HOLDS = (
    select(
        holds,
        leases_table.c.expires_us,
        leases_table.c.boot,
        leases_table.c.since_us.label("lease_since_us"),
        leases_table.c.lasts_us,
    )
    .join(leases_table, leases_table.c.name == literal("lock:").concat(holds.c.id))
    .where(holds.c.ended_us == 0)
)
_OPEN_LOCKS = (
    select(locks).join(holds, locks.c.hold == holds.c.id).where(holds.c.ended_us == 0, locks.c.ended_us == 0)
)
_TAKEN_AWAY = (
    select(holds.c.id)
    .where(holds.c.task == bindparam("wanted"), holds.c.ended_us > bindparam("since"))
    .where(holds.c.end.in_([str(HoldEnd.EXPIRED), str(HoldEnd.BROKEN)]))
    .limit(1)
)
_OLDEST_OPEN = select(func.min(sessions.c.started_us)).where(sessions.c.ended_us == 0)
_LOCKS = Statement(select(locks).where(locks.c.hold == bindparam("wanted"), locks.c.ended_us == 0))
_TOKEN = Statement(select(lock_tokens.c.token).where(lock_tokens.c.scope == bindparam("wanted")))
_FIRST_TOKEN = Statement(insert(lock_tokens))
_LAST_TOKEN = Statement(
    update(lock_tokens).where(lock_tokens.c.scope == bindparam("wanted")).values(token=bindparam("last"))
)
_ADD_HOLD, _ADD_LOCK = Statement(insert(holds)), Statement(insert(locks))
_HOLD_COLUMNS: Final = tuple(str(column.name) for column in holds.columns)
_LOCK_COLUMNS: Final = tuple(str(column.name) for column in locks.columns)
_DELETE_HOLD = Statement(delete(holds).where(holds.c.id == bindparam("wanted")))
_DELETE_LOCKS = Statement(delete(locks).where(locks.c.hold == bindparam("wanted")))
_END_HOLD = Statement(update(holds).where(holds.c.id == bindparam("wanted")))
_END_LOCK = Statement(
    update(locks).where(locks.c.scope == bindparam("within"), locks.c.token == bindparam("wanted"))
)
_STAMP: Final = ""
"""In the place of a scope: the row whose token is the stamp of the last change."""
_TOKEN.ahead({"wanted": _STAMP})


@dataclass(frozen=True, slots=True)
class LockFence:
    """What an effect carries that depends on locks: the hold's lease, and the scope and token of each lock."""

    hold: str
    locks: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, granted: Granted) -> LockFence:
        """The fence of what was granted."""
        return cls(granted.hold.id, frozenset((lock.resource.scope, lock.token) for lock in granted.locks))

    def check(self, tx: Tx) -> None:
        """Raises ``LeaseLost`` when the hold is over, or one of the locks is."""
        leases.check(tx, Fence(lease_of(self.hold), 1))
        held = {(lock.resource.scope, lock.token) for lock in of_hold(tx, self.hold)}
        if not self.locks <= held:
            raise LeaseLost(
                attempted="act under a lock",
                on=self.hold,
                cause="it was taken away",
                hint="Nothing was changed; the current holder continues",
            )


def new_id() -> str:
    """An id for a hold: 64 random bits, never used again."""
    return secrets.token_hex(8)


@dataclass(slots=True)
class Changes:
    """What one transaction does to holds and locks, to be written at once.

    ``opened`` has the terms of new holds, ``added`` each new lock with its head, ``renewed`` the new terms of
    holds. ``ended``: whole holds, of which ``over`` has the locks too; ``over`` may also have single ones.
    ``first_tokens`` are those of scopes that never had one.
    """

    opened: list[tuple[Hold, Term]] = field(default_factory=list)
    added: list[tuple[Lock, Sequence[str]]] = field(default_factory=list)
    renewed: dict[str, tuple[Hold, Term]] = field(default_factory=dict)
    ended: list[tuple[Hold, HoldEnd]] = field(default_factory=list)
    over: list[Lock] = field(default_factory=list)
    first_tokens: dict[str, int] = field(default_factory=dict)
    last_tokens: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.opened or self.added or self.renewed or self.ended or self.over)


def stamp(tx: Tx) -> int:
    """Which change was the last; 0 before the first."""
    row = _TOKEN.one(tx.connection, {"wanted": _STAMP})
    return 0 if row is None else int(row.token)


def write(tx: Tx, changes: Changes, new_stamp: int, *, first: bool) -> None:
    """Writes changes, with one statement for each kind. ``first``: there is no stamp yet."""
    connection, now_us = tx.connection, tx.now_us()
    opened = [(Lease(hold.lease, hold.holder, 1, hold.expires_us), term) for hold, term in changes.opened]
    leases.begin_all(tx, opened)
    _ADD_HOLD.many_rows(connection, _HOLD_COLUMNS, [_hold_row(hold) for hold, _ in changes.opened])
    _ADD_LOCK.many_rows(connection, _LOCK_COLUMNS, [_lock_row(lock, head) for lock, head in changes.added])
    leases.extend_all(tx, ((hold.lease, hold.expires_us, term) for hold, term in changes.renewed.values()))
    tokens, firsts = changes.last_tokens, changes.first_tokens
    (firsts if first else tokens)[_STAMP] = new_stamp
    _FIRST_TOKEN.many_rows(connection, ("scope", "token"), list(firsts.items()))
    _LAST_TOKEN.many_rows(connection, ("last", "wanted"), [(last, scope) for scope, last in tokens.items()])
    if not changes.ended and not changes.over:
        return
    of_tasks = [(hold, end) for hold, end in changes.ended if hold.task]
    others = [(hold.id,) for hold, _ in changes.ended if not hold.task]
    gone = {name for (name,) in others}
    ended = [lock for lock in changes.over if lock.hold not in gone]
    leases.forget_all(tx, [hold.lease for hold, _ in changes.ended])
    _END_HOLD.many(connection, [{"wanted": hold.id, "ended_us": now_us, "end": str(end)} for hold, end in of_tasks])
    _END_LOCK.many(
        connection,
        [{"within": lock.resource.scope, "wanted": lock.token, "ended_us": now_us} for lock in ended],
    )
    _DELETE_LOCKS.many_rows(connection, ("wanted",), others)
    _DELETE_HOLD.many_rows(connection, ("wanted",), others)


def everything(tx: Tx) -> tuple[list[tuple[Hold, Term]], list[Lock]]:
    """Every hold that nobody ended, with its lease's term, and all of their locks."""
    found = [
        (_with_expiry(row, row.expires_us), Term(row.boot, row.lease_since_us, row.lasts_us))
        for row in tx.connection.execute(_OPEN_HOLDS)
    ]
    return found, [_lock(row) for row in tx.connection.execute(_OPEN_LOCKS)]


def last_token(tx: Tx, scope: str) -> int:
    """The last fencing token of a scope; 0 before the first."""
    row = _TOKEN.one(tx.connection, {"wanted": scope})
    return 0 if row is None else int(row.token)


def ended(tx: Tx, resource: Resource, head: Sequence[str], since_us: int) -> list[Lock]:
    """The locks that ended after a time and may overlap with a resource: its scope's, whose head is above or below
    ``head``."""
    query = select(locks).where(locks.c.scope == resource.scope, locks.c.ended_us > since_us)
    if head:
        mine = _head(head)
        above = [_head(head[:size]) for size in range(len(head) + 1)]
        below = and_(locks.c.head > mine, locks.c.head < mine[:-1] + _ABOVE)
        query = query.where(or_(locks.c.head.in_(above), below))
    return [_lock(row) for row in tx.connection.execute(query)]


def hold(tx: Tx, wanted: str) -> Hold | None:
    """A hold by its id, also one that is over."""
    row = _HOLD.one(tx.connection, {"wanted": wanted})
    return None if row is None else _hold(tx, row)


def of_task(tx: Tx, task: str) -> Hold | None:
    """The hold of a task that is not over."""
    row = _OPEN_OF_TASK.one(tx.connection, {"wanted": task})
    return None if row is None else _hold(tx, row)


def of_hold(tx: Tx, wanted: str) -> list[Lock]:
    """What a hold has, by scope and token."""
    return sorted((_lock(row) for row in _LOCKS.all(tx.connection, {"wanted": wanted})), key=_place)


def open_holds(tx: Tx) -> list[Hold]:
    """Every hold that nobody ended, those included whose time is over: ``expires_us`` is then in the past."""
    return [_with_expiry(row, row.expires_us) for row in tx.connection.execute(_OPEN_HOLDS)]


def held(tx: Tx) -> list[tuple[Hold, list[Lock]]]:
    """What :func:`open_holds` says, each with its locks in the order of :func:`of_hold`."""
    found, had = everything(tx)
    of = {hold.id: list[Lock]() for hold, _ in found}
    for lock in sorted(had, key=_place):
        if lock.hold in of:
            of[lock.hold].append(lock)
    return [(hold, of[hold.id]) for hold, _ in found]


def taken_away(tx: Tx, task: str, since_us: int) -> bool:
    """Whether a hold of the task expired or was broken after a time: it went on without what it held."""
    return tx.connection.execute(_TAKEN_AWAY, {"wanted": task, "since": since_us}).first() is not None


def forget_ended(tx: Tx, age_us: int) -> int:
    """Retention: removes holds that ended so long ago, at most some hundred at once; returns how many.

    Those that ended since the oldest open session began stay: its base may lack what they were for.
    """
    oldest_us = tx.connection.execute(_OLDEST_OPEN).scalar_one()
    before_us = min(tx.now_us() - age_us, oldest_us) if oldest_us else tx.now_us() - age_us
    query = select(holds.c.id).where(holds.c.ended_us > 0, holds.c.ended_us < before_us).limit(_AT_ONCE)
    old = list(tx.connection.execute(query).scalars())
    if old:
        tx.connection.execute(delete(locks).where(locks.c.hold.in_(old)))
        tx.connection.execute(delete(holds).where(holds.c.id.in_(old)))
    return len(old)


def _place(lock: Lock) -> tuple[str, int]:
    return lock.resource.scope, lock.token


def _hold_row(hold: Hold) -> tuple[Any, ...]:
    return hold.id, hold.holder, hold.task, hold.secret_sha256, hold.since_us, 0, ""


def _lock_row(lock: Lock, head: Sequence[str]) -> tuple[Any, ...]:
    resource = lock.resource
    return (
        resource.scope,
        lock.token,
        lock.hold,
        resource.name,
        resource.repo,
        _head(head) if head else "",
        str(lock.mode),
        str(lock.cause),
        lock.since_us,
        0,
    )


def _head(names: Sequence[str]) -> str:
    # Case folded: two heads that differ by case only may be one directory, and ended() may say too much.
    return "".join(f"{name.casefold()}{_SEPARATOR}" for name in names)


def _hold(tx: Tx, row: Row[Any]) -> Hold:
    live = row.lease_holder and Term(row.boot, row.lease_since_us, row.lasts_us).lasts(leases.moment(tx))
    return _with_expiry(row, row.expires_us if live else 0)


def _with_expiry(row: Row[Any], expires_us: int) -> Hold:
    return Hold(
        id=row.id,
        holder=row.holder,
        task=row.task,
        secret_sha256=row.secret_sha256,
        since_us=row.since_us,
        expires_us=expires_us,
        end=HoldEnd(row.end),
    )


def _lock(row: Row[Any]) -> Lock:
    return Lock(
        hold=row.hold,
        resource=Resource(row.name, row.repo),
        mode=LockMode(row.mode),
        cause=LockCause(row.cause),
        token=row.token,
        since_us=row.since_us,
    )
