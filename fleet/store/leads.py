"""Who leads which task, where several controllers share a store: one row for each task that was started.

One controller, the coordinator, holds the leadership. The others are members: each holds a lease of its own for as
long as it takes part. The coordinator gives each started task to one of them, or to itself; the token of the row is
checked in every write of the task's flight. A member whose lease ran out is put out: its lease is gone, so that
none of its writes succeeds any more, and its tasks are given to others, all in one transaction.

A task without a row belongs to the coordinator: it has not started.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, literal, select, update

from fleet.errors import LeaseLost
from fleet.store import leases, tasks
from fleet.store.controllers import RunsOn
from fleet.store.core import Tx
from fleet.store.leases import Lease, Term
from fleet.store.lock_tables import controllers, leads
from fleet.store.records import reader
from fleet.store.statements import Statement
from fleet.store.states import ControllerRole
from fleet.store.tables import leases as lease_rows

TTL_US: Final = 8_000_000
"""How long a member may be silent before its tasks are given to others."""

_OF_TASK = Statement(select(leads).where(leads.c.task == bindparam("wanted")))
_EVERY = select(leads).order_by(leads.c.task)
_INSERT = insert(leads)
_GIVE = update(leads).where(leads.c.task == bindparam("wanted"))
_DELETE = delete(leads).where(leads.c.task == bindparam("wanted"))
_COUNTS = select(leads.c.controller, func.count().label("number")).group_by(leads.c.controller)
_MEMBERS = (
    select(controllers.c.instance, lease_rows.c.boot, lease_rows.c.since_us, lease_rows.c.lasts_us)
    .join(lease_rows, lease_rows.c.name == literal(leases.MEMBER).concat(controllers.c.instance))
    .where(
        controllers.c.role == ControllerRole.SHARES,
        controllers.c.digest == bindparam("fleet"),
        controllers.c.env == bindparam("env"),
    )
)


@dataclass(frozen=True, slots=True)
class Lead:
    """A task's leader: a controller's instance, empty when it was given back. ``token`` grows with each change."""

    task: str
    controller: str
    token: int

    def check(self, tx: Tx) -> None:
        """Raises ``LeaseLost`` once the task was given to another controller: a precondition of writes."""
        row = _OF_TASK.one(tx.connection, {"wanted": self.task})
        if row is None or row.token != self.token:
            now = row.controller if row is not None else ""
            raise LeaseLost(
                attempted="lead the task",
                on=f"{self.task} #{self.token}",
                cause=f"it passed to {now}" if now else "it was given back",
                hint="Nothing was changed; who leads it now continues",
            )


_lead = reader(Lead)


# --- members ------------------------------------------------------------------------------------------------


def join(tx: Tx, instance: str) -> Lease:
    """Takes part from now on. What was before it at its place is dead: the home's lock is ours. It is put out."""
    place = instance.rsplit(":", 2)[0]
    for other in present(tx):
        if other.rsplit(":", 2)[0] == place:
            put_out(tx, other)
    member = leases.acquire(tx, leases.MEMBER + instance, instance, TTL_US)
    if member is None:
        raise ValueError(f"{instance} takes part already")
    return member


def leave(tx: Tx, member: Lease) -> None:
    """Takes no part any more, and gives its tasks back. Its flights have ended before."""
    put_out(tx, member.holder)


def give_back(tx: Tx, instance: str) -> None:
    """A member keeps taking part, and leads nothing now. Its flights have ended before."""
    _free(tx, instance)


def members(tx: Tx, runs_on: RunsOn) -> list[str]:
    """Who takes part now and runs on just that, beside the coordinator."""
    now = leases.moment(tx)
    found = tx.connection.execute(_MEMBERS, {"fleet": runs_on.fleet, "env": runs_on.env})
    return [row.instance for row in found if Term(row.boot, row.since_us, row.lasts_us).lasts(now)]


def present(tx: Tx) -> dict[str, bool]:
    """Every member that was not put out, and whether its lease still runs."""
    named = lease_rows.c.name.startswith(leases.MEMBER, autoescape=True)
    found = tx.connection.execute(select(lease_rows.c.holder).where(named))
    return {holder: _is_member(tx, holder) for (holder,) in found}


def put_out(tx: Tx, instance: str) -> None:
    """Ends a membership: nothing that it writes succeeds from here on, and what it held is free."""
    leases.forget_all(tx, [leases.MEMBER + instance])
    _free(tx, instance)


# --- tasks --------------------------------------------------------------------------------------------------


def of_task(tx: Tx, task: str) -> Lead | None:
    """Who leads a task; ``None``: it has not started."""
    row = _OF_TASK.one(tx.connection, {"wanted": task})
    return None if row is None else _lead(row)


def every(tx: Tx) -> dict[str, Lead]:
    """All leads, by task."""
    return {row.task: _lead(row) for row in tx.connection.execute(_EVERY)}


def counts(tx: Tx) -> Mapping[str, int]:
    """How many tasks each controller leads."""
    return {row.controller: row.number for row in tx.connection.execute(_COUNTS) if row.controller}


def give(tx: Tx, task: str, among: Collection[str]) -> Lead:
    """Gives a task to the one of these controllers that leads the fewest; among equals, to the first."""
    had = counts(tx)
    chosen = min(among, key=lambda instance: had.get(instance, 0))
    known = of_task(tx, task)
    lead = Lead(task, chosen, known.token + 1 if known else 1)
    if known is None:
        tx.connection.execute(_INSERT, {"task": task, "controller": chosen, "token": 1, "since_us": tx.now_us()})
    else:
        _change(tx, lead)
    return lead


def homeless(tx: Tx, among: Collection[str]) -> list[Lead]:
    """The leads that none of these controllers has."""
    return [lead for lead in every(tx).values() if lead.controller not in among]


def over(tx: Tx) -> set[str]:
    """The tasks with a lead that have ended and are closed."""
    return every(tx).keys() - {task.id for task in tasks.unfinished(tx)}


def tidy(tx: Tx) -> None:
    """Forgets those. Their ids are never used again."""
    for task in over(tx):
        tx.connection.execute(_DELETE, {"wanted": task})


# --- parts --------------------------------------------------------------------------------------------------


def _free(tx: Tx, instance: str) -> None:
    """What a controller led is led by nobody, and the leases that it holds for its work are free."""
    for lead in every(tx).values():
        if lead.controller == instance:
            _change(tx, Lead(lead.task, "", lead.token + 1))
    held = update(lease_rows).where(lease_rows.c.holder.startswith(f"{instance}/", autoescape=True))
    tx.connection.execute(held.values(holder=""))


def _change(tx: Tx, lead: Lead) -> None:
    values = {"controller": lead.controller, "token": lead.token, "since_us": tx.now_us()}
    tx.connection.execute(_GIVE, {"wanted": lead.task, **values})


def _is_member(tx: Tx, instance: str) -> bool:
    return leases.look(tx, leases.MEMBER + instance) is not None
