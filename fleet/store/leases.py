"""The one lease primitive: leadership, pollers, schedules and locks are all rows of this table.

A lease has a holder, a duration, and a token that grows with every new holder and never shrinks, not even on
release. The duration only says when somebody else may take it. Its ``Fence`` makes an effect safe: :func:`check` in
the effect's own transaction refuses it once the lease has a new holder.

In SQLite the time is the machine's boot-time clock, which nobody can set; in PostgreSQL it is the server's clock. A
lease from another boot, or from the future, lasts its full time from when it is first seen.
"""

from __future__ import annotations

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

_BY_NAME = Statement(select(leases).where(leases.c.name == bindparam("wanted")))
_CHANGE = Statement(update(leases).where(leases.c.name == bindparam("wanted")))
_INSERT = Statement(insert(leases))
_DELETE = Statement(delete(leases).where(leases.c.name == bindparam("wanted")))
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


def acquire(tx: Tx, name: str, holder: str, ttl_us: int) -> Lease | None:
    """Takes a free or expired lease, for ``ttl_us`` microseconds; ``None`` while somebody holds it.

    A holder that asks again also gets ``None``: two of its tasks must not both believe that they hold it.
    """
    row, now = _row(tx, name), _now(tx)
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


def first(tx: Tx, name: str, holder: str, ttl_us: int) -> Lease:
    """A lease whose name was never used before. Its name is unique: a second one fails."""
    lease, now = Lease(name, holder, 1, tx.now_us() + ttl_us), _now(tx)
    _INSERT.run(tx.connection, {"name": name, **_values(lease, now, ttl_us)})
    return lease


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
    """Raises ``LeaseLost`` unless the fence's holder is still the last; for the leadership, ``LeadershipLost``.

    Call it with the effect, in its transaction.
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
    """The current lease; ``None`` when it is free or expired."""
    row = _row(tx, name)
    if row is None or not _held(row, _now(tx)):
        return None
    return Lease(name, row.holder, row.token, row.expires_us)


def lasts(tx: Tx, boot_id: str, since_us: int, lasts_us: int) -> bool:
    """Whether a lease of a row that was read otherwise is held now; one from another boot still lasts."""
    now = _now(tx)
    return not (boot_id == now.boot and since_us <= now.us) or now.us - since_us < lasts_us


def left_us(tx: Tx, name: str) -> int:
    """How long a lease still lasts unless it is renewed; 0 when it is free, expired, or from another boot."""
    row, now = _row(tx, name), _now(tx)
    if row is None or not _held(row, now) or not _counted(row, now):
        return 0
    return int(row.since_us + row.lasts_us - now.us)


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
    _DELETE.run(tx.connection, {"wanted": name})


def _now(tx: Tx) -> Moment:
    if tx.connection.dialect.name == "postgresql":
        return Moment(_SERVER, tx.now_us())
    return boot.now()


def _held(row: Row[Any], now: Moment) -> bool:
    return bool(row.holder) and (not _counted(row, now) or now.us - row.since_us < row.lasts_us)


def _counted(row: Row[Any], now: Moment) -> bool:
    """Whether the lease's time is on the clock of ``now``. If not, it is seen for the first time."""
    return bool(row.boot == now.boot and row.since_us <= now.us)


def _row(tx: Tx, name: str) -> Row[Any] | None:
    row: Row[Any] | None = _BY_NAME.one(tx.connection, {"wanted": name})
    return row


def _write(tx: Tx, lease: Lease, lasts_us: int) -> None:
    _CHANGE.run(tx.connection, {"wanted": lease.name, **_values(lease, _now(tx), lasts_us)})


def _values(lease: Lease, now: Moment, lasts_us: int) -> dict[str, Any]:
    return {
        "holder": lease.holder,
        "token": lease.token,
        "expires_us": lease.expires_us,
        "boot": now.boot,
        "since_us": now.us,
        "lasts_us": lasts_us,
    }
