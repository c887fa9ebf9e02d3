"""Rows of holds and locks. What overlaps, and who may have what, is decided in ``gates/locks``; this only keeps it.

A hold's lease is a row of ``leases``: its time, and the fence that an effect carries. Its name is never used again.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, insert, literal, or_, select, update

from fleet.errors import LeaseLost
from fleet.locks import Granted, Hold, HoldEnd, Lock, LockCause, LockMode, Resource, Want, lease_of
from fleet.store import leases
from fleet.store.core import Tx
from fleet.store.leases import Fence
from fleet.store.lock_tables import holds, lock_tokens, locks
from fleet.store.statements import Statement
from fleet.store.tables import leases as leases_table

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
    select(holds, leases_table.c.expires_us)
    .join(leases_table, leases_table.c.name == literal("lock:").concat(holds.c.id))
    .where(holds.c.ended_us == 0)
)
_TAKEN_AWAY = (
    select(holds.c.id)
    .where(holds.c.task == bindparam("wanted"), holds.c.ended_us > bindparam("since"))
    .where(holds.c.end.in_([str(HoldEnd.EXPIRED), str(HoldEnd.BROKEN)]))
    .limit(1)
)
_LOCKS = Statement(select(locks).where(locks.c.hold == bindparam("wanted"), locks.c.ended_us == 0))
_NAMED = Statement(select(locks).where(locks.c.scope == bindparam("wanted"), locks.c.ended_us == 0))
_FIRST_TOKEN = Statement(insert(lock_tokens))
_NEXT_TOKEN = Statement(
    update(lock_tokens)
    .where(lock_tokens.c.scope == bindparam("wanted"))
    .values(token=lock_tokens.c.token + bindparam("count"))
    .returning(lock_tokens.c.token)
)
_ADD_HOLD, _ADD_LOCK = Statement(insert(holds)), Statement(insert(locks))
_DELETE_HOLD = Statement(delete(holds).where(holds.c.id == bindparam("wanted")))
_DELETE_LOCKS = Statement(delete(locks).where(locks.c.hold == bindparam("wanted")))
_END_HOLD = Statement(update(holds).where(holds.c.id == bindparam("wanted")))
_END_LOCK = Statement(
    update(locks).where(locks.c.scope == bindparam("within"), locks.c.token == bindparam("wanted"))
)


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


def open_hold(tx: Tx, name: str, *, holder: str, task: str, secret_sha256: str, ttl_us: int) -> Hold:
    """A new hold without a lock, with its lease. ``name`` is its id, from :func:`new_id`."""
    lease = leases.first(tx, lease_of(name), holder, ttl_us)
    row = {
        "id": name,
        "holder": holder,
        "task": task,
        "secret_sha256": secret_sha256,
        "since_us": tx.now_us(),
        "ended_us": 0,
        "end": "",
    }
    _ADD_HOLD.run(tx.connection, row)
    return Hold(name, holder, task, secret_sha256, tx.now_us(), lease.expires_us)


def add(tx: Tx, hold: Hold, wants: Sequence[tuple[Want, Sequence[str]]], cause: LockCause) -> list[Lock]:
    """Gives a hold further locks, each under the next fencing token of its scope. ``wants``: each with its head."""
    tokens = {
        scope: _next_tokens(tx, scope, count)
        for scope, count in Counter(w.resource.scope for w, _ in wants).items()
    }
    added: list[Lock] = []
    rows = []
    for want, head in wants:
        token = next(tokens[want.resource.scope])
        added.append(Lock(hold.id, want.resource, want.mode, cause, token, tx.now_us()))
        rows.append(
            {
                "scope": want.resource.scope,
                "token": token,
                "hold": hold.id,
                "name": want.resource.name,
                "repo": want.resource.repo,
                "head": _head(head),
                "mode": str(want.mode),
                "cause": str(cause),
                "since_us": tx.now_us(),
                "ended_us": 0,
            }
        )
    if rows:
        _ADD_LOCK.many(tx.connection, rows)
    return added


def near(tx: Tx, resource: Resource, head: Sequence[str]) -> list[Lock]:
    """The locks held now that may overlap with a resource: its scope's, whose head is above or below ``head``."""
    if not resource.repo:
        return [_lock(row) for row in _NAMED.all(tx.connection, {"wanted": resource.scope})]
    return _of_scope(tx, resource, head, locks.c.ended_us == 0)


def ended(tx: Tx, resource: Resource, head: Sequence[str], since_us: int) -> list[Lock]:
    """As :func:`near`, of the locks that ended after a time."""
    return _of_scope(tx, resource, head, locks.c.ended_us > since_us)


def _of_scope(tx: Tx, resource: Resource, head: Sequence[str], when: ColumnElement[bool]) -> list[Lock]:
    query = select(locks).where(locks.c.scope == resource.scope, when)
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
    held = [_lock(row) for row in _LOCKS.all(tx.connection, {"wanted": wanted})]
    return sorted(held, key=lambda lock: (lock.resource.scope, lock.token))


def open_holds(tx: Tx) -> list[Hold]:
    """Every hold that nobody ended, those included whose time is over: ``expires_us`` is then in the past."""
    return [_with_expiry(row, row.expires_us) for row in tx.connection.execute(_OPEN_HOLDS)]


def end(tx: Tx, over: Hold, had: Sequence[Lock], why: HoldEnd) -> None:
    """Ends a hold that has ``had`` and its lease. A hold of a task stays to be looked at."""
    leases.forget(tx, over.lease)
    if over.task:
        _END_HOLD.run(tx.connection, {"wanted": over.id, "ended_us": tx.now_us(), "end": str(why)})
        end_locks(tx, had)
    else:
        _DELETE_LOCKS.run(tx.connection, {"wanted": over.id})
        _DELETE_HOLD.run(tx.connection, {"wanted": over.id})


def end_locks(tx: Tx, over: Iterable[Lock]) -> None:
    """Ends single locks; their hold goes on."""
    rows = [{"within": lock.resource.scope, "wanted": lock.token, "ended_us": tx.now_us()} for lock in over]
    if rows:
        _END_LOCK.many(tx.connection, rows)


def taken_away(tx: Tx, task: str, since_us: int) -> bool:
    """Whether a hold of the task expired or was broken after a time: it went on without what it held."""
    return tx.connection.execute(_TAKEN_AWAY, {"wanted": task, "since": since_us}).first() is not None


def forget_ended(tx: Tx, before_us: int) -> int:
    """Retention: removes holds that ended before a time, at most some hundred at once; returns how many."""
    query = select(holds.c.id).where(holds.c.ended_us > 0, holds.c.ended_us < before_us).limit(_AT_ONCE)
    old = list(tx.connection.execute(query).scalars())
    if old:
        tx.connection.execute(delete(locks).where(locks.c.hold.in_(old)))
        tx.connection.execute(delete(holds).where(holds.c.id.in_(old)))
    return len(old)


def _next_tokens(tx: Tx, scope: str, count: int) -> Iterator[int]:
    row = _NEXT_TOKEN.one(tx.connection, {"wanted": scope, "count": count})
    if row is None:
        _FIRST_TOKEN.run(tx.connection, {"scope": scope, "token": count})
        return iter(range(1, count + 1))
    last: int = row.token
    return iter(range(last - count + 1, last + 1))


def _head(names: Sequence[str]) -> str:
    # Case folded: two heads that differ by case only may be one directory, and near() may say too much.
    return "".join(f"{name.casefold()}{_SEPARATOR}" for name in names)


def _hold(tx: Tx, row: Row[Any]) -> Hold:
    live = row.lease_holder and leases.lasts(tx, row.boot, row.lease_since_us, row.lasts_us)
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
