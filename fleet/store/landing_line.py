"""The landing queue of each repository: which changes wait to land, in order, and what each was merged with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import bindparam, delete, func, insert, select, update

from fleet.events import GateOverridden, HoldReleased, LandingDone, LandingLeft, LandingQueued
from fleet.model import Session, Task
from fleet.store import recent
from fleet.store.core import Tx
from fleet.store.merge_tables import landing_places as places
from fleet.store.recording import record
from fleet.store.records import columns, reader
from fleet.store.statements import Statement
from fleet.store.states import PlaceState

_LINE = Statement(select(places).where(places.c.repo == bindparam("of")).order_by(places.c.number))
_ALL = select(places).order_by(places.c.repo, places.c.number)
_LEAVE = Statement(delete(places).where(places.c.task == bindparam("key")))
_LAST = Statement(
    select(func.coalesce(func.max(places.c.number), 0).label("number")).where(places.c.repo == bindparam("of"))
)
_JOIN = Statement(insert(places))
_MERGED = Statement(update(places).where(places.c.task == bindparam("key")))


@dataclass(frozen=True, slots=True)
class LandingPlace:
    """One change in the queue. ``alone``: a person let it land, so nothing is judged on top of it before it has.

    ``commit`` is the change merged with ``base``; ``behind`` are the tasks whose changes are in that base and have
    not landed. ``without``: who was taken out from below it, and why. ``why``: what is wrong with the merge.
    """

    task: str
    repo: str
    alone: bool = False
    base: str = ""
    commit: str = ""
    tree: str = ""
    behind: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    state: PlaceState = PlaceState.JOINED
    why: str = ""


_place = reader(LandingPlace)


def line(tx: Tx, repo: str) -> list[LandingPlace]:
    """A repository's queue, first in line first."""
    return [_place(row) for row in _LINE.all(tx.connection, {"of": repo})]


def lines(tx: Tx) -> dict[str, list[LandingPlace]]:
    """The queue of each repository that has one, by its name."""
    found: dict[str, list[LandingPlace]] = {}
    for row in tx.connection.execute(_ALL):
        found.setdefault(row.repo, []).append(_place(row))
    return found


def join(tx: Tx, task: Task) -> None:
    """Puts a change at the end of the queue, unless it is in it."""
    if any(place.task == task.id for place in line(tx, task.repo)):
        return
    by_a_person = recent.last_events(tx, 1, kinds=(HoldReleased.KIND, GateOverridden.KIND), task=task.id)
    row = {
        "number": _LAST.one(tx.connection, {"of": task.repo}).number + 1,
        "joined_us": tx.now_us(),
        **columns(LandingPlace(task.id, task.repo, bool(by_a_person))),
    }
    _JOIN.run(tx.connection, row)


def merged(tx: Tx, session: Session, turn: str, place: LandingPlace) -> LandingPlace:
    """Records what a change was merged with, or that it could not be. In the ledger where others are before it, or
    were taken out. Nothing is recorded for one that has left the queue."""
    here = line(tx, place.repo)
    before = {other.task: other for other in here}.get(place.task)
    if before is None:
        return place
    if before.base == place.base and before.commit == place.commit:
        place = replace(place, without=before.without)
        if place.state is PlaceState.MERGED:  # it is looked at again
            place = replace(place, state=before.state, why=before.why)
    else:
        out = [_taken_out(tx, task, here) for task in before.behind if task not in place.behind]
        place = replace(place, without=tuple(filter(None, out)))
        if place.commit and (place.behind or place.without):
            at = [other.task for other in here].index(place.task) + 1
            event = LandingQueued(at, place.behind, place.base, place.commit, place.tree, place.without)
            record(tx, event, session, turn=turn)
    _MERGED.run(tx.connection, {"key": place.task, **columns(place)})
    return place


def leave(tx: Tx, task: str) -> None:
    """Takes a change out of the queue; one that is not in it is fine."""
    _LEAVE.run(tx.connection, {"key": task})


def take_out(tx: Tx, session: Session, repo: str, why: str) -> None:
    """Takes a change out of the queue that does not land as it is. In the ledger where others are behind it."""
    here = line(tx, repo)
    if session.task in [place.task for place in here[:-1]]:
        mine = next(place for place in here if place.task == session.task)
        record(tx, LandingLeft(mine.base, mine.commit, why), session)
    leave(tx, session.task)


def _taken_out(tx: Tx, task: str, here: list[LandingPlace]) -> str:
    """In words, why a change is not below another any more; empty when it has landed."""
    if still := next((place for place in here if place.task == task), None):
        return f"{task}: {still.why or 'it is merged anew'}"
    found = recent.last_events(tx, 1, kinds=(LandingLeft.KIND, LandingDone.KIND), task=task)
    event = found[0].event if found else None
    if isinstance(event, LandingDone):
        return ""
    return f"{task}: {event.why if isinstance(event, LandingLeft) else 'it left the queue'}"
