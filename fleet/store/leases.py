"""The one lease primitive: leadership, pollers, schedules and locks are all rows of this table.

A lease has a holder, a duration, and a token that grows with every new holder and never shrinks, not even on
release. The duration only says when somebody else may take it. Its ``Fence`` makes an effect safe: :func:`check` in
the effect's own transaction refuses it once the lease has a new holder.

In SQLite the time is the machine's boot-time clock, which nobody can set; in PostgreSQL it is the server's clock. A
lease from another boot, or from the future, lasts its full time from when it is first seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, insert, select, update

from fleet.errors import LeadershipLost, LeaseLost
from fleet.store import boot
from fleet.store.boot import Moment
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import leases

LEADERSHIP: Final = "controller"
"""The lease of the controller that leads the fleet."""
MEMBER: Final = "member:"
"""Before the name of a controller that leads tasks without leading the fleet: its lease."""

_BY_NAME = Statement(select(leases).where(leases.c.name == bindparam("wanted"))).ahead({"wanted": LEADERSHIP})
_CHANGE = Statement(update(leases).where(leases.c.name == bindparam("wanted")))
_INSERT = Statement(insert(leases))
_COLUMNS: Final = ("name", "holder", "token", "expires_us", "boot", "since_us", "lasts_us")
_DELETE = Statement(delete(leases).where(leases.c.name == bindparam("wanted")))
_EXTEND = Statement(update(leases).where(leases.c.name == bindparam("wanted")))
_SERVER: Final = "server"
"""Used as the boot id when the time is the database server's."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Proves that an effect is still allowed: ``store.write(fn, under=[fence])``."""

    name: str
    token: int

    def check(self, tx: Tx) -> None:
        """See :func:`check`."""
        check(tx, self)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as its holder got it. ``expires_us``, for display, is epoch microseconds by the wall clock."""

    name: str
    holder: str
    token: int
    expires_us: int

    @property
    def fence(self) -> Fence:
        """What to check in the transaction of every effect."""
        return Fence(self.name, self.token)


@dataclass(frozen=True, slots=True)
class Term:
    """When a lease began by the store's clock, and how long it lasts."""

    boot: str
    since_us: int
    lasts_us: int

    def counted(self, now: Moment) -> bool:
        """Whether it is on the clock of ``now``. If not, it is seen for the first time."""
        return self.boot == now.boot and self.since_us <= now.us

    def lasts(self, now: Moment) -> bool:
        """Whether it is not over yet; one from another boot still lasts."""
        return not self.counted(now) or now.us - self.since_us < self.lasts_us


def acquire(tx: Tx, name: str, holder: str, ttl_us: int) -> Lease | None:
    """Takes a free or expired lease, for ``ttl_us`` microseconds; ``None`` while somebody holds it.

    A holder that asks again also gets ``None``: two of its tasks must not both believe that they hold it.
    """
    row, now = _row(tx, name), moment(tx)
    lease = Lease(name, holder, row.token + 1 if row else 1, tx.now_us() + ttl_us)
    if row is None:
        _INSERT.run(tx.connection, {"name": name, **_values(lease, now, ttl_us)})
        return lease
    if _held(row, now):
        if not _counted(row, now):
            _write(tx, Lease(name, row.holder, row.token, tx.now_us() + row.lasts_us), row.lasts_us)
        return None
    _write(tx, lease, ttl_us)
    return lease


def begin_all(tx: Tx, begun: Sequence[tuple[Lease, Term]]) -> None:
    """Leases whose names were never used before. Names are unique: a second one fails."""
    rows = [
        (each.name, each.holder, each.token, each.expires_us, term.boot, term.since_us, term.lasts_us)
        for each, term in begun
    ]
    _INSERT.many_rows(tx.connection, _COLUMNS, rows)


def extend_all(tx: Tx, extended: Iterable[tuple[str, int, Term]]) -> None:
    """Leases, by name, that last until another ``expires_us`` and for another term. Their holder asks for it."""
    rows = [{"wanted": name, **_term(expires_us, term)} for name, expires_us, term in extended]
    _EXTEND.many(tx.connection, rows)


def seize(tx: Tx, name: str, holder: str, ttl_us: int) -> Lease:
    """Takes a lease from a holder that is known to be dead, without waiting for it to expire.

    If that is wrong, the new token stops the old holder's effects, never ours.
    """
    row = _row(tx, name)
    if row is not None:
        _write(tx, Lease(name, "", row.token, 0), 0)
    lease = acquire(tx, name, holder, ttl_us)
    if lease is None:
        raise ValueError(f"{name} was freed in this transaction and is held all the same")
    return lease


def renew(tx: Tx, lease: Lease, ttl_us: int) -> Lease:
    """Extends the lease to ``ttl_us`` from now, even expired if nobody took it. Raises like :func:`check`."""
    check(tx, lease.fence)
    renewed = replace(lease, expires_us=tx.now_us() + ttl_us)
    _write(tx, renewed, ttl_us)
    return renewed


def release(tx: Tx, lease: Lease) -> None:
    """Frees the lease. Does nothing when it already has another holder."""
    row = _row(tx, lease.name)
    if row is not None and row.token == lease.token:
        _write(tx, replace(lease, holder="", expires_us=0), 0)


def check(tx: Tx, fence: Fence) -> None:
    """Raises ``LeaseLost`` unless the fence's holder is still the last; for the leadership, and for a member's
    lease, ``LeadershipLost``.

    Call it with the effect, in its transaction.
    """
    row = _row(tx, fence.name)
    if row is None or row.token != fence.token or not row.holder:
        raise lost(fence, row.holder if row is not None else "")


def lost(fence: Fence, now: str = "") -> LeaseLost | LeadershipLost:
    """The error of :func:`check`. ``now``: to whom the lease passed, if to anybody."""
    leads = fence.name == LEADERSHIP or fence.name.startswith(MEMBER)
    return (LeadershipLost if leads else LeaseLost)(
        attempted="lead this fleet" if leads else "act under a lease",
        on=f"{fence.name} #{fence.token}",
        cause=f"it passed to {now}" if now else "it was released",
        hint="Nothing was changed; the current holder continues",
    )


def look(tx: Tx, name: str) -> Lease | None:
    """The current lease; ``None`` when it is free or expired."""
    row = _row(tx, name)
    if row is None or not _held(row, moment(tx)):
        return None
    return Lease(name, row.holder, row.token, row.expires_us)


def left_us(tx: Tx, name: str) -> int:
    """How long a lease still lasts unless it is renewed; 0 when it is free, expired, or from another boot."""
    row, now = _row(tx, name), moment(tx)
    if row is None or not _held(row, now) or not _counted(row, now):
        return 0
    return int(row.since_us + row.lasts_us - now.us)


def held(tx: Tx, name: str) -> bool:
    """Whether somebody holds a lease now. As :func:`look`, in a write transaction: a lease from another boot, seen
    for the first time, begins its full time here."""
    row, now = _row(tx, name), moment(tx)
    if row is None or not _held(row, now):
        return False
    if not _counted(row, now):
        _write(tx, Lease(name, row.holder, row.token, tx.now_us() + row.lasts_us), row.lasts_us)
    return True


def forget_all(tx: Tx, names: Iterable[str]) -> None:
    """Removes leases whose names are never used again: only such a name may lose its token."""
    _DELETE.many_rows(tx.connection, ("wanted",), [(name,) for name in names])


def moment(tx: Tx) -> Moment:
    """The present by the store's clock for leases."""
    if tx.connection.dialect.name == "postgresql":
        return Moment(_SERVER, tx.now_us())
    return boot.now()


def _held(row: Row[Any], now: Moment) -> bool:
    return bool(row.holder) and _term_of(row).lasts(now)


def _counted(row: Row[Any], now: Moment) -> bool:
    return _term_of(row).counted(now)


def _term_of(row: Row[Any]) -> Term:
    return Term(row.boot, row.since_us, row.lasts_us)


def _row(tx: Tx, name: str) -> Row[Any] | None:
    row: Row[Any] | None = _BY_NAME.one(tx.connection, {"wanted": name})
    return row


def _write(tx: Tx, lease: Lease, lasts_us: int) -> None:
    _CHANGE.run(tx.connection, {"wanted": lease.name, **_values(lease, moment(tx), lasts_us)})


def _values(lease: Lease, now: Moment, lasts_us: int) -> dict[str, Any]:
    term = Term(now.boot, now.us, lasts_us)
    return {"holder": lease.holder, "token": lease.token, **_term(lease.expires_us, term)}


def _term(expires_us: int, term: Term) -> dict[str, Any]:
    return {
        "expires_us": expires_us,
        "boot": term.boot,
        "since_us": term.since_us,
        "lasts_us": term.lasts_us,
    }
