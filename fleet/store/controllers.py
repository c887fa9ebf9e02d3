"""The controllers of a store: one leads, others stand by. Each keeps its row fresh, by the store's clock.

A row is only told to people, with one exception: what the last leader ran on, its ``fleet.toml`` and ``.env``,
decides whether one that stands by may take over. Who leads is what the lease says.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import bindparam, delete, insert, select, update

from fleet.store import leases
from fleet.store.core import Tx
from fleet.store.lock_tables import controllers, leads
from fleet.store.records import reader
from fleet.store.states import ControllerRole

SILENT_US: Final = 15_000_000
"""Unseen for so long, a controller is dead, frozen, or cut off from the store."""
_FORGOTTEN_US: Final = 24 * 3_600_000_000
ENDED: Final = "ended"
"""The cause of what a controller says last: why it ended."""
_TROUBLES: Final = 20
_LENGTH: Final = 300

_EVERY = select(controllers).order_by(controllers.c.host, controllers.c.home, controllers.c.since_us)
_LEADERS = select(controllers).where(controllers.c.role == ControllerRole.LEADS)
_LED = select(leads.c.task, leads.c.controller).order_by(leads.c.task)
_INSERT = insert(controllers)
_CHANGE = update(controllers).where(controllers.c.instance == bindparam("key"))
_DELETE = delete(controllers).where(controllers.c.instance == bindparam("key"))
_AT_PLACE = (controllers.c.host == bindparam("at"), controllers.c.home == bindparam("of"))
_DELETE_PLACE = delete(controllers).where(*_AT_PLACE)
_DELETE_LEADERS = delete(controllers).where(
    controllers.c.role == ControllerRole.LEADS, controllers.c.instance != bindparam("key")
)
_DELETE_UNSEEN = delete(controllers).where(controllers.c.seen_us < bindparam("before"))


class Condition(StrEnum):
    """What a controller is now."""

    LEADS = "leads"
    SHARES = "shares"
    STANDS_BY = "stands by"
    DIFFERS = "differs"  # another fleet.toml or .env than the leader's: it does not take over
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class RunsOn:
    """What a controller runs on. ``fleet``: the SHA-256 of its fleet.toml. ``env``: JSON, a keyed hash of each
    setting of its .env that all must have, by name; empty while that is not known."""

    fleet: str
    env: str = ""

    def differs(self, other: RunsOn) -> tuple[str, ...]:
        """What is not as it is there: ``fleet.toml``, and names of ``.env``. Nothing: both can lead one fleet."""
        found = () if self.fleet == other.fleet else ("fleet.toml",)
        if not self.env or not other.env or self.env == other.env:
            return found
        here, there = json.loads(self.env), json.loads(other.env)
        names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        return (*found, *(f"{name} in .env" for name in names))


@dataclass(frozen=True, slots=True)
class Contender:
    """A controller as it names itself. ``instance``: also the holder of its lease."""

    instance: str
    host: str
    home: str
    version: str


@dataclass(frozen=True, slots=True)
class Controller:
    """A row. ``digest``, ``env``: what it runs on, or has, as :class:`RunsOn` says. ``since_us``: in this role.
    ``troubles``: what is not well with it, a line for each cause."""

    instance: str
    host: str
    home: str
    version: str
    digest: str
    role: ControllerRole
    since_us: int
    seen_us: int
    troubles: Mapping[str, str] = field(default_factory=dict)
    env: str = ""

    @property
    def runs_on(self) -> RunsOn:
        """What it runs on, or has."""
        return RunsOn(self.digest, self.env)


@dataclass(frozen=True, slots=True)
class ControllerSeen:
    """A controller, and what it is at the moment of the reading, ``ago_us`` after it was last seen.

    ``tasks``: those that it leads, where several share the store. ``differs``: what it has otherwise than the one
    that leads, where it must be equal."""

    controller: Controller
    condition: Condition
    ago_us: int
    tasks: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()

    @property
    def troubles(self) -> Mapping[str, str]:
        """What is not well with it; of one that is silent only why it ended, if it could say so."""
        said = self.controller.troubles
        if self.condition is Condition.SILENT:
            return {cause: line for cause, line in said.items() if cause == ENDED}
        return said


def note(
    tx: Tx, me: Contender, role: ControllerRole, runs_on: RunsOn, troubles: Mapping[str, str] | None = None
) -> None:
    """Writes a controller's row: it was seen now. What was before it at its place is dead, and forgotten.
    ``troubles``: what is not well with it, a line for each cause, redacted; ``None``: as it said before."""
    now = tx.now_us()
    known = next((row for row in _rows(tx) if row.instance == me.instance), None)
    if troubles is None:
        troubles = known.troubles if known is not None else {}
    said = json.dumps({cause: line[:_LENGTH] for cause, line in list(troubles.items())[:_TROUBLES]})
    since = known.since_us if known is not None and known.role is role else now
    values = {"role": role, "since_us": since, "seen_us": now, "troubles": said}
    values |= {"digest": runs_on.fleet, "env": runs_on.env}
    if known is None:
        tx.connection.execute(_DELETE_PLACE, {"at": me.host, "of": me.home})
        named = {"instance": me.instance, "host": me.host, "home": me.home, "version": me.version}
        tx.connection.execute(_INSERT, {**named, **values})
    else:
        tx.connection.execute(_CHANGE, {"key": me.instance, **values})
    if role is ControllerRole.LEADS:
        tx.connection.execute(_DELETE_LEADERS, {"key": me.instance})
        tx.connection.execute(_DELETE_UNSEEN, {"before": now - _FORGOTTEN_US})


def forget(tx: Tx, me: Contender) -> None:
    """Removes the row of a controller that ends."""
    tx.connection.execute(_DELETE, {"key": me.instance})


def last_words(tx: Tx, me: Contender, why: str) -> None:
    """A controller ends, and not in order. Its row is that of one that is gone, and says why."""
    values = {"role": ControllerRole.STANDS_BY, "seen_us": tx.now_us() - SILENT_US}
    values |= {"troubles": json.dumps({ENDED: why[:_LENGTH]})}
    tx.connection.execute(_CHANGE, {"key": me.instance, **values})


def last_leader(tx: Tx) -> Controller | None:
    """The controller that led last, dead or alive, unless it ended in order."""
    rows = tx.connection.execute(_LEADERS).all()
    return _controller(rows[0]) if rows else None


def seen(tx: Tx) -> list[ControllerSeen]:
    """Every controller, the leader first."""
    lease = leases.look(tx, leases.LEADERSHIP)
    rows, now = _rows(tx), tx.now_us()
    leader = next((row for row in rows if lease is not None and row.instance == lease.holder), None)
    led = defaultdict[str, list[str]](list)
    for task, instance in tx.connection.execute(_LED):
        led[instance].append(task)
    found = []
    for row in rows:
        ago_us, tasks, differs = max(0, now - row.seen_us), tuple(led[row.instance]), _differs(row, leader)
        found.append(ControllerSeen(row, _condition(row, leader, now), ago_us, tasks, differs))
    return sorted(found, key=lambda each: each.condition is not Condition.LEADS)


def _condition(row: Controller, leader: Controller | None, now_us: int) -> Condition:
    if leader is not None and row.instance == leader.instance:
        return Condition.LEADS
    if row.role is ControllerRole.LEADS or now_us - row.seen_us >= SILENT_US:
        return Condition.SILENT
    if _differs(row, leader):
        return Condition.DIFFERS
    return Condition.SHARES if row.role is ControllerRole.SHARES else Condition.STANDS_BY


def _differs(row: Controller, leader: Controller | None) -> tuple[str, ...]:
    return () if leader is None else row.runs_on.differs(leader.runs_on)


def _rows(tx: Tx) -> list[Controller]:
    return [_controller(row) for row in tx.connection.execute(_EVERY)]


_controller = reader(Controller, troubles=lambda row: json.loads(row.troubles or "{}"))
