"""The one lease primitive: leadership, pollers, schedules and locks are all rows of this table.

A lease is a holder, a time that it lasts, and a token that grows with every new holder and never shrinks, not even
by a release. The time only says from when somebody else may take it. What makes an effect safe is its ``Fence``:
:func:`check` in the effect's own transaction refuses it once the lease has passed on.

In SQLite the time runs on the machine's boot-time clock, which nobody can set; in PostgreSQL on the server's clock.
A lease from another boot, or from a moment that is still to come, lasts its full time from when it is first seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, insert, select, update

from fleet.errors import LeadershipLost, LeaseLost
from fleet.store import boot
from fleet.store.boot import Moment
from fleet.store.core import Tx
from fleet.store.tables import leases

LEADERSHIP: Final = "controller"
"""The lease of the controller that leads the fleet."""

_BY_NAME = select(leases).where(leases.c.name == bindparam("wanted"))
_CHANGE = update(leases).where(leases.c.name == bindparam("wanted"))
_INSERT = insert(leases)
_DELETE = delete(leases).where(leases.c.name == bindparam("wanted"))
_SERVER: Final = "server"
"""Stands for the boot where the time is the database server's."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What an effect carries to prove that it may happen: ``store.write(fn, under=[fence])``."""

    name: str
    token: int

    def check(self, tx: Tx) -> None:
        """As :func:`check`."""
        check(tx, self)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as its holder got it. ``expires_us``, for people, is epoch microseconds by the wall clock."""

    name: str
    holder: str
    token: int
    expires_us: int

    @property
    def fence(self) -> Fence:
        """What to check in the transaction of every effect."""
        return Fence(self.name, self.token)


def acquire(tx: Tx, name: str, holder: str, ttl_us: int) -> Lease | None:
    """Takes a lease that is free or has run out, for ``ttl_us`` microseconds; ``None`` while somebody holds it.

    A holder that asks again gets ``None`` too: two of its tasks must not both believe that they hold it.
    """
    row, now = _row(tx, name), _now(tx)
    lease = Lease(name, holder, row.token + 1 if row else 1, tx.now_us() + ttl_us)
    if row is None:
        tx.connection.execute(_INSERT, {"name": name, **_values(lease, now, ttl_us)})
        return lease
    if _held(row, now):
        if not _counted(row, now):
            _write(tx, Lease(name, row.holder, row.token, tx.now_us() + row.lasts_us), row.lasts_us)
        return None
    _write(tx, lease, ttl_us)
    return lease


def seize(tx: Tx, name: str, holder: str, ttl_us: int) -> Lease:
    """Takes a lease from a holder that is known to be dead, without waiting for its expiry.

    Should that knowledge be wrong, the token that grows costs the old holder its effects, never ours.
    """
    row = _row(tx, name)
    if row is not None:
        _write(tx, Lease(name, "", row.token, 0), 0)
    lease = acquire(tx, name, holder, ttl_us)
    if lease is None:
        raise ValueError(f"{name} was freed in this transaction and is held all the same")
    return lease


def renew(tx: Tx, lease: Lease, ttl_us: int) -> Lease:
    """The same lease for ``ttl_us`` from now, also after it ran out if nobody took it. Raises as :func:`check`."""
    check(tx, lease.fence)
    renewed = replace(lease, expires_us=tx.now_us() + ttl_us)
    _write(tx, renewed, ttl_us)
    return renewed


def release(tx: Tx, lease: Lease) -> None:
    """Frees the lease for the next one. Nothing happens when it has passed on already."""
    row = _row(tx, lease.name)
    if row is not None and row.token == lease.token:
        _write(tx, replace(lease, holder="", expires_us=0), 0)


def check(tx: Tx, fence: Fence) -> None:
    """Raises ``LeaseLost`` unless the fence's holder is still the last one; ``LeadershipLost`` for the leadership.

    Call it beside the effect, in its transaction.
    """
    row = _row(tx, fence.name)
    if row is None or row.token != fence.token or not row.holder:
        now = row.holder if row is not None else ""
        leads = fence.name == LEADERSHIP
        raise (LeadershipLost if leads else LeaseLost)(
            attempted="lead this fleet" if leads else "act under a lease",
            on=f"{fence.name} #{fence.token}",
            cause=f"it passed to {now}" if now else "it was released",
            hint="Nothing was changed; the current holder continues",
        )


def look(tx: Tx, name: str) -> Lease | None:
    """Who holds a lease now; ``None`` when it is free or has run out."""
    row = _row(tx, name)
    if row is None or not _held(row, _now(tx)):
        return None
    return Lease(name, row.holder, row.token, row.expires_us)


def held(tx: Tx, name: str) -> bool:
    """Whether somebody holds a lease now. As :func:`look`, in a write transaction: a lease from another boot, seen
    for the first time, begins its full time here."""
    row, now = _row(tx, name), _now(tx)
    if row is None or not _held(row, now):
        return False
    if not _counted(row, now):
        _write(tx, Lease(name, row.holder, row.token, tx.now_us() + row.lasts_us), row.lasts_us)
    return True


def forget(tx: Tx, name: str) -> None:
    """Removes a lease whose name is never used again: only such a name may lose its token."""
    tx.connection.execute(_DELETE, {"wanted": name})


def _now(tx: Tx) -> Moment:
    if tx.connection.dialect.name == "postgresql":
        return Moment(_SERVER, tx.now_us())
    return boot.now()


def _held(row: Row[Any], now: Moment) -> bool:
    if not row.holder:
        return False
    return not _counted(row, now) or now.us - row.since_us < row.lasts_us


def _counted(row: Row[Any], now: Moment) -> bool:
    """Whether the lease's time counts on the clock of ``now``. If not, it has just been seen for the first time."""
    return bool(row.boot == now.boot and row.since_us <= now.us)


def _row(tx: Tx, name: str) -> Row[Any] | None:
    return tx.connection.execute(_BY_NAME, {"wanted": name}).one_or_none()


def _write(tx: Tx, lease: Lease, lasts_us: int) -> None:
    tx.connection.execute(_CHANGE, {"wanted": lease.name, **_values(lease, _now(tx), lasts_us)})


def _values(lease: Lease, now: Moment, lasts_us: int) -> dict[str, Any]:
    return {
        "holder": lease.holder,
        "token": lease.token,
        "expires_us": lease.expires_us,
        "boot": now.boot,
        "since_us": now.us,
        "lasts_us": lasts_us,
    }
