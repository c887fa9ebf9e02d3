"""Schedules and their slots, on both databases."""

from __future__ import annotations

import json

import pytest

from fleet.errors import Misused
from fleet.events import ScheduleDue, ScheduleMoved, ScheduleSetV2
from fleet.locks import LockMode, Resource, Want
from fleet.model import ChatRef, TaskMode, TaskState
from fleet.schedule.model import Job, Overlap, Schedule, ScheduleState, SlotOutcome, Work
from fleet.schedule.spec import Calendar, Weekday
from fleet.store import ledger, schedules, tasks
from fleet.store.chat import moves, settings
from fleet.store.chat.settings import OfChat
from fleet.store.core import Store, Tx
from tests.rows import slots_of

CHANNEL = ChatRef("telegram", "7", "3")
SPEC = Calendar((0,), (2,), weekdays=(Weekday.MONDAY, Weekday.SUNDAY))
WANTS = (Want(Resource("src/**", "shop")), Want(Resource("deploy"), LockMode.SHARED))
ADA, OTTO = "telegram::ada", "telegram::otto"


def made(tx: Tx, owner: str = ADA, next_us: int = 100) -> Schedule:
    return schedules.create(
        tx,
        owner=owner,
        channel=CHANNEL,
        spec=SPEC,
        zone="Europe/Berlin",
        work=Work(Job.RUN, "shop", "claude", "", "fix the “flaky” tests\n", WANTS),
        overlap=Overlap.QUEUE,
        next_us=next_us,
    )


def task(tx: Tx) -> str:
    return tasks.create_task(
        tx, repo="shop", agent="claude", machine="", prompt="x", mode=TaskMode.CHANGE, requester=ADA, origin=CHANNEL
    ).id


def test_a_schedule_is_kept_as_it_was_made(store: Store) -> None:
    with store.transaction() as tx:
        first = made(tx)
        assert schedules.find(tx, "1") == schedules.find(tx, " S1 ") == first
        assert (first.id, first.state, first.spec) == ("s1", ScheduleState.ACTIVE, SPEC)
        assert first.work.locks == WANTS
        event = ledger.read(tx)[-1].event
        assert isinstance(event, ScheduleSetV2)
        assert event.locks == ("exclusive path:shop:src/**", "shared deploy")
    with pytest.raises(Misused, match="There are: s1"), store.transaction() as tx:
        schedules.find(tx, "s2")


def test_what_is_due_comes_in_its_order(store: Store) -> None:
    with store.transaction() as tx:
        assert schedules.next_due_us(tx) is None
        for next_us in (300, 100, 200):
            made(tx, next_us=next_us)
        assert [schedule.id for schedule in schedules.due(tx, 200)] == ["s2", "s3"]
        assert schedules.next_due_us(tx) == 100
        schedules.move(tx, schedules.find(tx, "s2"), ScheduleState.PAUSED, "because", ADA)
        assert schedules.next_due_us(tx) == 200
        assert ledger.read(tx)[-1].event == ScheduleMoved("s2", "active", "paused", "because")


def test_a_slot_can_be_taken_once(store: Store) -> None:
    with store.transaction() as tx:
        first = made(tx)
        taken = schedules.take(tx, first, SlotOutcome.STARTED, next_us=200, now_us=101, missed=2, task=task(tx))
        assert (taken.next_us, taken.open_task) == (200, "t1")
        recorded = ledger.read(tx)[-1]
        assert (recorded.event, recorded.refs.task) == (ScheduleDue("s1", 100, "started", 2), "t1")
    with pytest.raises(ValueError, match="was due at 100 already"), store.transaction() as tx:
        schedules.take(tx, first, SlotOutcome.STARTED, next_us=200, now_us=101)
    with store.transaction() as tx:
        assert [slot.missed for slot in slots_of(tx, "s1")] == [2]


def test_old_slots_go(store: Store) -> None:
    with store.transaction() as tx:
        later = schedules.take(tx, made(tx), SlotOutcome.SKIPPED, next_us=schedules.KEPT_US + 101, now_us=101)
        schedules.take(tx, later, SlotOutcome.SKIPPED, next_us=0, now_us=schedules.KEPT_US + 101)
        assert len(slots_of(tx, "s1")) == 1


def test_a_run_that_ended_is_counted_and_the_queue_waits_for_it(store: Store) -> None:
    with store.transaction() as tx:
        taken = schedules.take(tx, made(tx), SlotOutcome.STARTED, next_us=200, now_us=100, task=task(tx))
        schedules.take(tx, taken, SlotOutcome.QUEUED, next_us=300, now_us=200)
        assert schedules.ended_runs(tx) == []
        tasks.move(tx, "t1", TaskState.FAILED, "", ADA)
        ((ended, state),) = schedules.ended_runs(tx)
        counted = schedules.count_end(tx, ended, state)
        assert (counted.bad_ends, counted.last_task, counted.last_result, counted.open_task) == (
            1,
            "t1",
            "failed",
            "",
        )
        (waiting,) = schedules.queued(tx, "s1")
        started = schedules.start_queued(tx, counted, waiting, task(tx))
        assert (started.open_task, schedules.queued(tx, "s1"), schedules.ended_runs(tx)) == ("t2", [], [])


def test_a_paused_schedule_forgets_its_queue(store: Store) -> None:
    with store.transaction() as tx:
        taken = schedules.take(tx, made(tx), SlotOutcome.QUEUED, next_us=200, now_us=100)
        schedules.move(tx, taken, ScheduleState.PAUSED, "", ADA)
        assert schedules.queued(tx, "s1") == []


def test_revoking_an_id_ends_all_its_schedules_and_no_others(store: Store) -> None:
    with store.transaction() as tx:
        for owner in (OTTO, ADA, OTTO):
            made(tx, owner)
        gone = schedules.end_of_owner(tx, OTTO, "revoked", ADA)
        assert [(schedule.id, schedule.state, schedule.next_us) for schedule in gone] == [
            ("s1", ScheduleState.DELETED, 0),
            ("s3", ScheduleState.DELETED, 0),
        ]
        assert [schedule.id for schedule in schedules.due(tx, 1_000)] == ["s2"]
        assert schedules.end_of_owner(tx, OTTO, "revoked", ADA) == []


def test_a_schedule_moves_along_with_its_chat(store: Store) -> None:
    with store.transaction() as tx:
        made(tx)
        moves.moved(tx, "telegram", "7", "-1007")
        assert schedules.find(tx, "s1").channel == ChatRef("telegram", "-1007", "3")


def test_what_was_set_for_a_chat_moves_along_and_nothing_of_another_chat(store: Store) -> None:
    def keys(number: str) -> list[str]:
        chat = ChatRef("telegram", number)
        plain = [settings.of_chat(OfChat.MUTE, chat), settings.of_chat(OfChat.MODEL, chat, "claude")]
        draft = f"{OfChat.DRAFT}:{json.dumps(['telegram', number, '', ADA])}"
        log = f"{OfChat.LIVE_LOG}:{json.dumps(['t1', 'telegram', number, '3'])}"
        return [*plain, settings.of_chat(OfChat.DIGEST, chat, "3"), draft, log]

    with store.transaction() as tx:
        for number in ("-7", "-71", "7"):
            for key in keys(number):
                settings.put(tx, key, number)
        settings.put(tx, keys("-1007")[0], "set there")
        moves.moved(tx, "telegram", "-7", "-1007")
        assert [settings.get(tx, key) for key in keys("-7")] == [""] * 5
        assert [settings.get(tx, key) for key in keys("-1007")] == ["set there", "-7", "-7", "-7", "-7"]
        for number in ("-71", "7"):
            assert [settings.get(tx, key) for key in keys(number)] == [number] * 5
