"""Schedules and their slots. A slot is one time that a schedule was due: a row that can be there only once.

What a slot starts is written in the transaction of its row, and the schedule's next time too: whatever dies, each
slot starts its work once or not at all.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from fleet.budgets import dump_budget, limits, load_budget, words
from fleet.errors import Misused
from fleet.events import Refs, ScheduleDue, ScheduleMoved, ScheduleSetV3, Source
from fleet.locks import dump_wants, load_wants
from fleet.model import AIRBOSS, ENDS, ChatRef, TaskState
from fleet.schedule import spec as specs
from fleet.schedule.model import Job, Overlap, Schedule, ScheduleState, Slot, SlotOutcome, Work
from fleet.schedule.spec import Spec
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.store.named import of_another_kind, plain_id
from fleet.store.records import chat_of, columns, reader
from fleet.store.schedule_tables import schedules, slots
from fleet.store.statements import Statement, one_of
from fleet.store.tables import tasks

KEPT_US: Final = 90 * 86_400_000_000
"""How long before a schedule's newest slot its others are kept: so far back may a clock be set."""

BAD_ENDS: Final = frozenset({TaskState.FAILED, TaskState.REFUSED, TaskState.UNAVAILABLE, TaskState.LOST})
"""Ends of a run that count as bad. A person's stop does not."""

_work = reader(
    Work,
    locks=lambda row: load_wants(row.locks),
    budget=lambda row: load_budget(row.budget),
    needs=lambda row: tuple(filter(None, row.needs.split(","))),
)
_schedule = reader(
    Schedule,
    channel=chat_of,
    spec=lambda row: specs.load(row.spec),
    work=_work,
)
_slot = reader(Slot)

_LIVE: Final = (str(ScheduleState.ACTIVE), str(ScheduleState.PAUSED))
_LAST = select(func.coalesce(func.max(schedules.c.number), 0))
_BY_ID = select(schedules).where(schedules.c.id == bindparam("wanted"))
_CHANGE = update(schedules).where(schedules.c.id == bindparam("key"))
_LISTED = Statement(select(schedules).where(one_of(schedules.c.state, _LIVE)).order_by(schedules.c.number))
_ACTIVE = schedules.c.state == str(ScheduleState.ACTIVE)
_DUE = Statement(
    select(schedules)
    .where(_ACTIVE, schedules.c.next_us > 0, schedules.c.next_us <= bindparam("now"))
    .order_by(schedules.c.next_us)
)
_NEXT = Statement(select(func.min(schedules.c.next_us).label("first")).where(_ACTIVE, schedules.c.next_us > 0))
_ENDED = Statement(
    select(schedules, tasks.c.state.label("ended"))
    .join(tasks, tasks.c.id == schedules.c.open_task)
    .where(one_of(schedules.c.state, (*_LIVE, ScheduleState.DONE)), schedules.c.open_task != "")
    .where(one_of(tasks.c.state, ENDS))
)
_OF_SCHEDULE = select(slots).where(slots.c.schedule == bindparam("wanted"))
_SLOT = _OF_SCHEDULE.where(slots.c.due_us == bindparam("due"))
_QUEUED = _OF_SCHEDULE.where(slots.c.outcome == str(SlotOutcome.QUEUED)).order_by(slots.c.due_us)
_FORGET = (
    update(slots)
    .where(slots.c.schedule == bindparam("wanted"), slots.c.outcome == str(SlotOutcome.QUEUED))
    .values(outcome=str(SlotOutcome.SKIPPED))
)
_PRUNE = delete(slots).where(
    slots.c.schedule == bindparam("wanted"),
    slots.c.due_us < bindparam("before"),
    slots.c.outcome != str(SlotOutcome.QUEUED),  # its run is still to come
)


def create(
    tx: Tx,
    *,
    owner: str,
    channel: ChatRef,
    spec: Spec,
    zone: str,
    work: Work,
    overlap: Overlap,
    next_us: int,
    actor: str = "",
) -> Schedule:
    """A new schedule, active, with its ``ScheduleSetV3`` event. ``actor``: who made it, by default its owner."""
    number = tx.connection.execute(_LAST).scalar_one() + 1
    made = Schedule(
        id=f"s{number}",
        owner=owner,
        channel=channel,
        spec=spec,
        zone=zone,
        work=work,
        overlap=overlap,
        state=ScheduleState.ACTIVE,
        why="",
        next_us=next_us,
        open_task="",
        last_task="",
        last_result="",
        bad_ends=0,
        skipped=0,
        created_us=tx.now_us(),
    )
    tx.connection.execute(insert(schedules), {"number": number, **_row(made)})
    _record_set(tx, made, actor or owner)
    return made


def edit(tx: Tx, changed: Schedule, actor: str) -> Schedule:
    """The schedule with another spec, zone, work or overlap; its run that is open stays its own."""
    tx.connection.execute(_CHANGE, {"key": changed.id, **_row(changed)})
    _record_set(tx, changed, actor)
    return changed


def move(tx: Tx, schedule: Schedule, new: ScheduleState, why: str, actor: str, *, next_us: int = 0) -> Schedule:
    """Pauses, resumes, ends or deletes a schedule, with its ``ScheduleMoved`` event.

    A schedule that is paused or deleted forgets the slots that wait for its open run.
    """
    values: dict[str, Any] = {"state": str(new), "why": why, "next_us": next_us}
    if new is ScheduleState.ACTIVE:
        values["bad_ends"] = 0
    tx.connection.execute(_CHANGE, {"key": schedule.id, **values})
    if new in (ScheduleState.PAUSED, ScheduleState.DELETED):
        tx.connection.execute(_FORGET, {"wanted": schedule.id})
    event = ScheduleMoved(schedule.id, str(schedule.state), str(new), why)
    ledger.append(tx, event, actor=actor, source=Source.CONTROLLER if actor == AIRBOSS else Source.PERSON)
    return get(tx, schedule.id)


def end_of_owner(tx: Tx, owner: str, why: str, actor: str) -> list[Schedule]:
    """Deletes every schedule of a person (``str(PersonId)``) for good, because that id was revoked; answers them.

    Whoever gets the id back later makes new ones.
    """
    query = select(schedules).where(schedules.c.owner == owner, schedules.c.state.in_(_LIVE))
    mine = [_schedule(row) for row in tx.connection.execute(query.order_by(schedules.c.number)).all()]
    return [move(tx, schedule, ScheduleState.DELETED, why, actor) for schedule in mine]


def get(tx: Tx, schedule_id: str) -> Schedule:
    """The schedule of exactly this id. Raises ``Misused`` when there is none."""
    return find(tx, schedule_id)


def find(tx: Tx, named: str) -> Schedule:
    """The schedule that a person names: ``s3`` or ``3``. Raises ``Misused`` when there is none."""
    wanted = plain_id(named)
    for exact in (wanted, f"s{wanted}"):
        row = tx.connection.execute(_BY_ID, {"wanted": exact}).one_or_none()
        if row is not None:
            return _schedule(row)
    known = ", ".join(schedule.id for schedule in listed(tx)[:8])
    raise Misused(
        attempted="find the schedule",
        on=named,
        cause="there is no such schedule",
        hint=of_another_kind(named, "s")
        or (f"There are: {known}" if known else "There is none yet: /schedule makes one."),
    )


def listed(tx: Tx) -> list[Schedule]:
    """Those that are active or paused, oldest first."""
    return [_schedule(row) for row in _LISTED.all(tx.connection, {})]


def digest_in(tx: Tx, channel: ChatRef) -> Schedule | None:
    """The daily digest of a channel, if it has one."""
    mine = (schedule for schedule in listed(tx) if schedule.work.job is Job.DIGEST)
    return next((schedule for schedule in mine if schedule.channel == channel), None)


def due(tx: Tx, now_us: int) -> list[Schedule]:
    """Those that are due now, the earliest first."""
    return [_schedule(row) for row in _DUE.all(tx.connection, {"now": now_us})]


def next_due_us(tx: Tx) -> int | None:
    """When the next of all schedules is due; ``None``: never."""
    first: int | None = _NEXT.one(tx.connection, {}).first
    return first


def ended_runs(tx: Tx) -> list[tuple[Schedule, TaskState]]:
    """Schedules whose open run has ended, and how."""
    return [(_schedule(row), TaskState(row.ended)) for row in _ENDED.all(tx.connection, {})]


def take(
    tx: Tx, schedule: Schedule, outcome: SlotOutcome, *, next_us: int, now_us: int, missed: int = 0, task: str = ""
) -> Schedule:
    """Writes the slot that is due, and moves the schedule on to ``next_us`` (0: it is never due again).

    Raises ``ValueError`` when that slot is there already: its work was started.
    """
    row = {
        "schedule": schedule.id,
        "due_us": schedule.next_us,
        "outcome": str(outcome),
        "task": task,
        "missed": missed,
        "at_us": now_us,
    }
    if slot(tx, schedule.id, schedule.next_us) is not None:
        raise ValueError(f"{schedule.id} was due at {schedule.next_us} already")
    tx.connection.execute(insert(slots), row)
    tx.connection.execute(_PRUNE, {"wanted": schedule.id, "before": schedule.next_us - KEPT_US})
    _record_due(tx, schedule, schedule.next_us, outcome, missed=missed, task=task)
    skipped = schedule.skipped + 1 if outcome is SlotOutcome.SKIPPED else 0
    values: dict[str, Any] = {"next_us": next_us, "skipped": skipped}
    if outcome is SlotOutcome.STARTED:
        values["open_task"] = task
    tx.connection.execute(_CHANGE, {"key": schedule.id, **values})
    return get(tx, schedule.id)


def reckon(tx: Tx, schedule: Schedule, next_us: int) -> None:
    """It is due then, and not when was thought."""
    tx.connection.execute(_CHANGE, {"key": schedule.id, "next_us": next_us})


def started(tx: Tx, schedule: Schedule, task: str) -> Schedule:
    """A run that is in no slot: a person asked for it now."""
    tx.connection.execute(_CHANGE, {"key": schedule.id, "open_task": task})
    return get(tx, schedule.id)


def start_queued(tx: Tx, schedule: Schedule, waiting: Slot, task: str) -> Schedule:
    """The run of a slot that waited for the one before it."""
    mine = update(slots).where(slots.c.schedule == schedule.id, slots.c.due_us == waiting.due_us)
    tx.connection.execute(mine.values(outcome=str(SlotOutcome.STARTED), task=task))
    _record_due(tx, schedule, waiting.due_us, SlotOutcome.STARTED, missed=waiting.missed, task=task)
    return started(tx, schedule, task)


def count_end(tx: Tx, schedule: Schedule, end: TaskState) -> Schedule:
    """The open run has ended so: it is the last result now, and counts if it is bad."""
    bad = schedule.bad_ends + 1 if end in BAD_ENDS else schedule.bad_ends if end is TaskState.STOPPED else 0
    values = {"open_task": "", "last_task": schedule.open_task, "last_result": str(end), "bad_ends": bad}
    tx.connection.execute(_CHANGE, {"key": schedule.id, **values})
    return get(tx, schedule.id)


def slot(tx: Tx, schedule_id: str, due_us: int) -> Slot | None:
    """One slot of a schedule, if that was due then."""
    row = tx.connection.execute(_SLOT, {"wanted": schedule_id, "due": due_us}).one_or_none()
    return None if row is None else _slot(row)


def queued(tx: Tx, schedule_id: str) -> list[Slot]:
    """The slots that wait for the run before them, oldest first."""
    return [_slot(row) for row in tx.connection.execute(_QUEUED, {"wanted": schedule_id})]


def _record_set(tx: Tx, made: Schedule, actor: str) -> None:
    work = made.work
    event = ScheduleSetV3(
        schedule=made.id,
        spec=specs.dump(made.spec),
        zone=made.zone,
        job=str(work.job),
        repo=work.repo,
        agent=work.agent,
        machine=work.machine,
        prompt=work.prompt,
        overlap=str(made.overlap),
        locks=tuple(map(str, work.locks)),
        budget=tuple(words(measure, limit) for measure, limit in limits(work.budget)),
        needs=work.needs,
        model=work.model,
    )
    ledger.append(tx, event, actor=actor, source=Source.CONTROLLER if actor == AIRBOSS else Source.PERSON)


def _record_due(tx: Tx, schedule: Schedule, due_us: int, outcome: SlotOutcome, *, missed: int, task: str) -> None:
    event = ScheduleDue(schedule.id, due_us, str(outcome), missed)
    ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=Refs(task=task))


def _row(schedule: Schedule) -> dict[str, Any]:
    work = schedule.work
    plain = {**columns(schedule), **columns(work)}
    del plain["channel"], plain["work"]
    return {
        **plain,
        **columns(schedule.channel),
        "spec": specs.dump(schedule.spec),
        "locks": dump_wants(work.locks),
        "budget": dump_budget(work.budget),
        "needs": ",".join(work.needs),
    }
