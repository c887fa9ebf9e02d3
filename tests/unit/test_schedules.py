"""Schedules start when they are due, once, whatever happened meanwhile."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from bot.cards import shown
from fleet.config import parse_fleet
from fleet.errors import StoreUnavailable
from fleet.faults import injected
from fleet.model import ChatRef, PersonId, TaskState
from fleet.schedule.model import ScheduleState, SlotOutcome
from fleet.schedule.times import instant
from fleet.store import schedules
from tests.chat_house import ADA, CHAT, FLEET, OTTO, house
from tests.rows import slots_of
from tests.schedule_house import DAY_US, HOUR_US, NIGHTLY, UTC, SetClock, due, end, look, one, text, told


async def test_it_starts_when_it_is_due_and_once(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say(NIGHTLY)
        clock.at("2026-11-30T00:59:59")
        assert await look(there) == []
        clock.at("2026-11-30T01:00:00")
        assert await look(there) == ["t1 · shop · fix the flaky tests"]
        assert await look(there) == []
        (task,) = await there.tasks()
        assert (task.requester, task.prompt, task.agent) == (str(ADA), "fix the flaky tests", "demo")
        assert there.fleet.woken == ["t1"]
        assert "by s1" in told(there, "t1 · shop · fix the flaky tests")
        assert [(found.outcome, found.missed) for found in await due(there)] == [("started", 0)]
        assert (await one(there)).next_us == instant(datetime.fromisoformat("2026-12-01T01:00"), UTC)


async def test_a_clock_that_jumps_back_starts_nothing_again(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x")
        clock.at("2026-11-28T19:00")
        await look(there)
        await end(there, "t1", TaskState.STOPPED)
        for jump in ("2026-11-28T18:00", "2026-11-28T18:59", "2026-11-28T19:00", "2026-11-28T19:59:59"):
            clock.at(jump)
            assert await look(there) == []
        clock.at("2026-11-28T20:00")
        assert await look(there) == ["t2 · shop · x"]


async def test_what_ran_before_the_clock_was_set_back_is_passed_over(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x")
        clock.at("2026-11-28T19:00")
        await look(there)
        await end(there, "t1", TaskState.STOPPED)
        await there.say("/schedule pause s1")
        clock.at("2026-11-28T18:30")
        await there.say("/schedule resume s1")
        for when in ("2026-11-28T19:00", "2026-11-28T20:00"):
            clock.at(when)
            await look(there)
        assert (await one(there)).open_task == "t2", "and nothing was said to be an internal error"


async def test_a_clock_that_was_in_the_future_silences_nothing(tmp_path: Path) -> None:
    """Also where the next controller is the first to see the right time."""
    for again in (False, True):
        clock, home = SetClock(), tmp_path / str(again)
        home.mkdir()
        async with house(home, clock=clock) as there:
            await there.say("/schedule every hour run x")
            clock.at("2037-01-01T12:30")
            await look(there)
            await end(there, "t1", TaskState.STOPPED)
            clock.at("2026-11-28T18:40")
            if not again:
                await look(there)
        async with house(home, clock=clock) as there:
            await look(there)
            assert len(await there.tasks()) == 1
            clock.at("2026-11-28T19:00")
            await look(there)
            assert len(await there.tasks()) == 1, "that one has run, when it seemed to be over"
            clock.at("2026-11-28T20:00")
            await look(there)
            assert len(await there.tasks()) == 2


async def test_many_missed_times_are_one_run_that_says_how_many(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x")
    clock.at("2026-11-29T00:10")
    async with house(tmp_path, clock=clock) as there:
        assert await look(there) == ["t1 · shop · x", "s1 · late"]
        assert "Sat 28 Nov 19:00" in told(there, "s1 · late")
        assert "6 times since then: t1 is the one run for all of them." in told(there, "s1 · late")
        assert [found.missed for found in await due(there)] == [5]
        assert (await one(there)).next_us == instant(datetime.fromisoformat("2026-11-29T01:00"), UTC)
        assert len(await there.tasks()) == 1


async def test_while_the_last_run_is_open_a_slot_is_skipped_and_one_card_counts_them(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x")
        titles = []
        for hour in (19, 20, 21):
            clock.at(f"2026-11-28T{hour}:00")
            titles.append(await look(there))
        assert titles == [["t1 · shop · x"], ["s1 · skipped: t1 is still open"], ["s1 · skipped: t1 is still open"]]
        last, before = there.phone.sent[-1], there.phone.sent[-2]
        assert (last.edits != "", before.edits) == (True, "")
        assert "2 skipped" in text(last.card)
        await end(there, "t1", TaskState.FAILED)
        clock.at("2026-11-28T22:00")
        assert "t2 · shop · x" in await look(there)
        found = await one(there)
        assert (found.last_task, found.last_result, found.bad_ends, found.skipped) == ("t1", "failed", 1, 0)


async def test_with_queue_it_starts_when_the_run_before_it_ends(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour queue run x")
        for hour in (19, 20, 21):
            clock.at(f"2026-11-28T{hour}:00")
            await look(there)
        assert [task.id for task in await there.tasks()] == ["t1"]
        for number in (1, 2):
            await end(there, f"t{number}", TaskState.STOPPED)
            await look(there)
        assert [task.id for task in await there.tasks()] == ["t3", "t2", "t1"]
        await end(there, "t3", TaskState.STOPPED)
        await look(there)
        assert len(await there.tasks()) == 3
        assert {slot.outcome for slot in await there.store.read(lambda tx: slots_of(tx, "s1"))} == {
            SlotOutcome.STARTED
        }


async def test_what_waits_for_the_run_before_it_is_kept_however_long_that_takes(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every day 19:00 queue run x")
        for when in ("2026-11-28T19:00", "2026-11-29T19:00", "2028-01-01T19:00", "2028-01-02T19:00"):
            clock.at(when)
            await look(there)
        assert "3 waiting" in told(there, "s1 · waits: t1 is still open")
        await end(there, "t1", TaskState.STOPPED)
        await look(there)
        assert (await one(there)).open_task == "t2"


async def test_three_bad_ends_in_a_row_pause_it_and_ask_once(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x")
        ends = (TaskState.FAILED, TaskState.STOPPED, TaskState.LOST, TaskState.UNAVAILABLE)
        for number, state in enumerate(ends, 1):
            clock.now += HOUR_US
            await look(there)
            await end(there, f"t{number}", state)
        titles = await look(there)
        assert titles.count("s1 · paused") == 1
        card = next(sent.card for sent in reversed(there.phone.sent) if shown(sent.card.title) == "s1 · paused")
        assert "3 runs in a row ended badly; the last, t4, unavailable." in text(card)
        assert [action.label for action in card.actions] == ["Resume", "Delete"]
        clock.now += 5 * HOUR_US
        assert await look(there) == []
        await there.press(card, "Resume")
        found = await one(there)
        assert (found.state, found.bad_ends) == (ScheduleState.ACTIVE, 0)
        clock.now += HOUR_US
        assert "t5 · shop · x" in await look(there)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("[repos.shop]", "[repos.other]"), "fleet.toml no longer has the repository shop"),
        (("[agents.demo]", "[agents.other]"), "fleet.toml no longer has the agent demo"),
        (
            ('name = "Otto"\nrole = "operator"', 'name = "Otto"\nrole = "viewer"'),
            "Otto no longer has the right to run",
        ),
        (("[machines.macbook]", "[machines.other]"), "fleet.toml no longer has the machine macbook"),
    ],
)
async def test_what_it_needs_is_gone(tmp_path: Path, change: tuple[str, str], why: str) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run on=macbook x", OTTO)
        there.configured(parse_fleet(FLEET.replace(*change), "fleet.toml"))
        assert await look(there) == ["s1 · paused"]
        assert f"{why}." in text(there.last())
        clock.now += HOUR_US
        assert await look(there) == []
        found = await one(there)
        assert (found.state, found.why) == (ScheduleState.PAUSED, why)
        result, cards = await there.say("/schedule resume s1")
        assert result.status == 2
        assert why in text(cards[0])
        assert await there.tasks() == []


@pytest.mark.parametrize("alone", [True, False])
async def test_an_owner_who_is_nobody_any_more_is_not_told_but_the_first_admin_is(
    tmp_path: Path, alone: bool
) -> None:
    """In a group, the others read it where they read about its runs."""
    clock, admins = SetClock(), ChatRef("phone", "ada")
    async with house(tmp_path, clock=clock) as there:
        await there.hand_over(there.message("/schedule every hour run on=macbook x", OTTO, private=alone))
        there.configured(parse_fleet(FLEET.replace("phone::otto", "phone::nobody"), "fleet.toml"))
        await look(there)
        await there.settle(admins)
        said = there.phone.sent[-1]
        assert said.chat == (admins if alone else CHAT)
        assert "Its owner phone::otto is not in fleet.toml any more." in text(said.card)


async def test_a_revoked_id_has_no_schedules_any_more(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x", OTTO)
        await there.say("/schedule every hour run y", ADA)
        gone = await there.store.write(lambda tx: schedules.end_of_owner(tx, str(OTTO), "revoked", str(ADA)))
        assert [schedule.id for schedule in gone] == ["s1"]
        clock.at("2026-11-28T19:00")
        assert await look(there) == ["t1 · shop · y"]
        result, _ = await there.say("/schedule resume s1", OTTO)
        assert result.status == 2


async def test_a_commit_that_fails_starts_nothing_and_the_next_look_does(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x")
        clock.at("2026-11-28T19:00")
        with injected(there.taking_fails()), pytest.raises(StoreUnavailable):
            await there.beats.look()
        assert await there.tasks() == []
        assert await due(there) == []
        assert there.fleet.woken == []
        assert await look(there) == ["t1 · shop · x"]


async def test_once_is_over_after_it_ran(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule in 30 min run x")
        clock.now += DAY_US
        assert await look(there) == ["t1 · shop · x", "s1 · late"]
        assert "t1 runs now." in told(there, "s1 · late")
        assert (await one(there)).state is ScheduleState.DONE
        await end(there, "t1", TaskState.STOPPED)
        await look(there)
        assert (await one(there)).last_result == "stopped"
        clock.now += DAY_US
        assert await look(there) == []


async def test_an_edit_between_the_look_and_the_start_is_respected(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x")
        clock.at("2026-11-28T19:00")
        (stale,) = await there.store.read(lambda tx: schedules.due(tx, clock.now))
        await there.say("/schedule edit s1 run y")
        await there.beats._beat(stale, clock.now, [])
        assert await there.tasks() == []
        clock.now += HOUR_US
        await look(there)
        assert [task.prompt for task in await there.tasks()] == ["y"]


async def test_late_runs_that_one_look_starts_have_one_card(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        for number in range(10):
            await there.say(f"/schedule every day 19:{number:02} run {number}")
        clock.at("2026-11-29T10:00")
        await look(there)
        assert sum("late" in shown(sent.card.title) and not sent.edits for sent in there.phone.sent) == 1
        card = told(there, "10 schedules · late")
        assert "s2 · t2 · due Sat 28 Nov 19:01" in card and "and 3 more" in card


async def test_a_schedule_may_ask_for_a_slot_of_a_pool(tmp_path: Path) -> None:
    clock = SetClock()
    pool = '[pools.big]\nprovider = "command"\nacquire = ["/bin/true"]\nrelease = ["/bin/true"]\nidentity = "k"\n'
    async with house(tmp_path, clock=clock, fleet_toml=FLEET + pool) as there:
        await there.say("/schedule every hour run on=big x")
        clock.now += HOUR_US
        await look(there)
        assert [task.machine for task in await there.tasks()] == ["big"]


async def test_its_owner_may_change_it_by_any_of_their_ids(tmp_path: Path) -> None:
    fleet = FLEET.replace('ids = ["phone::otto"]', 'ids = ["phone::otto", "phone::otto2"]')
    async with house(tmp_path, fleet_toml=fleet) as there:
        await there.say("/schedule every hour run x", OTTO)
        assert (await there.say("/schedule pause s1", PersonId("phone", "", "otto2")))[0].status == 0
