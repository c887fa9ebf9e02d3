"""Schedules from a chat: made, confirmed, listed and changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.cards import shown
from fleet.budgets import parse_budget
from fleet.events import ScheduleSetV3
from fleet.model import TaskState
from fleet.schedule.model import Job, Overlap, ScheduleState, Work
from fleet.store import ledger, schedules
from tests.chat_house import ADA, FLEET, OTTO, VERA, house
from tests.schedule_house import NIGHTLY, SetClock, end, look, one, text
from tests.unit.test_models import allow

PRICE = 'price = { input = "1", output = "2" }\n'


async def test_a_schedule_is_confirmed_as_it_was_understood(tmp_path: Path) -> None:
    async with house(tmp_path, clock=SetClock()) as there:
        await there.say("/zone Asia/Kathmandu")
        result, cards = await there.say(NIGHTLY)
        assert result.status == 0
        assert text(cards[0]) == (
            "s1 · scheduled\n"
            "every weekday at 02:00 · Europe/Berlin\n"
            "run in shop with demo: “fix the flaky tests”\n"
            "Next: Mon 30 Nov 06:45 · Tue 1 Dec 06:45 · Wed 2 Dec 06:45\n"
            "⚠️ unsafe-same-user · times in Asia/Kathmandu"
        )
        assert [action.label for action in cards[0].actions] == ["Pause", "Delete"]
        assert await there.tasks() == []


WHEN = (
    ("every hour run x", "every hour"),
    ("every 15 min run x", "every 15 min"),
    ("every monday,thursday 9:00 ask x", "every Monday, Thursday at 09:00"),
    ("every day 9:00,17:00 run x", "every day at 09:00, 17:00"),
    ("0 9 * * mon-fri ask x", "every weekday at 09:00"),
    ("*/20 8-9 1,15 * * ask x", "every day 1, 15 of the month at minute 0, 20, 40 of hour 8, 9"),
    ("0 0 13 * fri ask x", "day 13 of the month or every Friday at 00:00"),
    ("30 * * 2 * ask x", "every day in months 2 at minute 30 of every hour"),
    ("*/5 * * * * ask x", "every 5 min"),
    ("0,30 * * * mon-fri ask x", "every weekday, every 30 min"),
    ("*/7 * * * * ask x", "every day at minute 0, 7, 14, 21, 28, 35, 42, 49, 56 of every hour"),
    ("* * * * * ask x", "every minute"),
    ("in 30 min run x", "once, Sat 28 Nov 19:00"),
    ("2027-12-01 08:00 ask x", "once, Wed 1 Dec 2027 08:00"),
)


async def test_when_is_said_in_words(tmp_path: Path) -> None:
    async with house(tmp_path, clock=SetClock()) as there:
        for words, when in WHEN:
            _, cards = await there.say(f"/schedule {words}")
            assert shown(cards[0].lines[0]) == f"{when} · UTC"


async def test_its_tasks_lock_what_it_names_also_after_an_edit_of_the_time(tmp_path: Path) -> None:
    async with house(tmp_path, clock=SetClock()) as there:
        refused, _ = await there.say("/schedule every hour ask lock=src/** why")
        assert refused.status == 2
        _, cards = await there.say("/schedule every hour run lock=src lock=src/** share='my docs/**' tidy")
        assert "Locks first: src (advisory), src/**, my docs/** (shared)" in text(cards[0])
        await there.say("/schedule edit s1 every day 7:00")
        await there.say("/schedule now s1")
        (task,) = await there.tasks()
        locks = ["exclusive src", "exclusive path:shop:src/**", "shared path:shop:my docs/**"]
        assert [str(want) for want in task.locks] == locks


async def test_its_tasks_have_a_budget_needs_and_a_model_also_after_an_edit(
    tmp_path: Path,
) -> None:
    priced = FLEET.replace('driver = "command"\n', f'driver = "command"\n{PRICE}')
    async with house(tmp_path, clock=SetClock(), fleet_toml=priced) as there:
        allow(there, "sonnet")
        for wrong in ("budget=5miles", "needs=xcode>=new", "model=fable"):
            assert (await there.say(f"/schedule every hour run {wrong} tidy"))[0].status == 2
        options = "budget=2.5usd,2h,4attempts needs=xcode>=26 model=sonnet"
        _, cards = await there.say(f"/schedule every hour run {options} tidy")
        assert "Each task: at most $2.50, 2 h, 4 attempts · needs xcode>=26 · model sonnet" in text(cards[0])
        _, cards = await there.say("/schedule edit s1 every day 7:00")
        assert "Each task: at most $2.50" in text(cards[0])
        work = (await one(there)).work
        (_, changed) = await there.store.read(lambda tx: ledger.read(tx, kinds=(ScheduleSetV3.KIND,)))
        assert isinstance(changed.event, ScheduleSetV3)
        assert changed.event.budget == ("$2.50", "2 h", "4 attempts")
        await there.say("/schedule now s1")
        (task,) = await there.tasks()
        assert (task.budget, task.needs, task.model) == (work.budget, ("xcode>=26",), "sonnet")
        assert task.budget == parse_budget("2.5usd,2h,4attempts")
        allow(there)
        await look(there)
        found = await one(there)
        assert found.state is ScheduleState.PAUSED
        assert found.why == f"fleet.toml no longer allows the model sonnet for {found.work.agent}"


async def test_new_words_keep_the_options_that_they_leave_out(tmp_path: Path) -> None:
    other = f'[repos.api]\nurl = "/srv/api.git"\n[agents.other]\ndriver = "command"\nprogram = ["cat"]\n{PRICE}'
    async with house(tmp_path, clock=SetClock(), fleet_toml=FLEET + other) as there:
        await there.say("/use shop")
        options = "repo=api agent=other on=macbook budget=2usd needs=linux lock=src/** share=docs/**"
        await there.say(f"/schedule every day 9:00 queue run {options} tidy up")
        before = await one(there)
        assert (before.work.repo, before.work.agent) == ("api", "other")
        await there.say("/schedule edit s1 run tidy up well")
        assert await one(there) == replace(before, work=replace(before.work, prompt="tidy up well"))
        await there.say("/schedule edit s1 skip")
        assert (await one(there)).overlap is Overlap.SKIP
        await there.say("/schedule edit s1 ask why")
        assert ((await one(there)).work.repo, (await one(there)).work.locks) == ("api", ())
        await there.say("/schedule edit s1 run repo=shop agent=demo tidy up")
        assert (await one(there)).work == Work(Job.RUN, "shop", "demo", "", "tidy up")


async def test_a_draft_keeps_what_was_chosen_before_the_words(tmp_path: Path) -> None:
    async with house(tmp_path, clock=SetClock()) as there:
        await there.say("/schedule every hour run repo=shop on=macbook budget=3calls needs=linux")
        await there.say("tidy")
        work = (await one(there)).work
        assert (work.prompt, work.budget.calls, work.needs) == ("tidy", 3, ("linux",))


async def test_it_is_paused_run_now_edited_and_deleted(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        _, cards = await there.say("/schedule every hour run x")
        await there.press(cards[0], "Pause")
        assert (await one(there)).state is ScheduleState.PAUSED
        clock.at("2026-11-28T19:00")
        assert await look(there) == []
        _, cards = await there.say("/schedules s1")
        assert [action.label for action in cards[0].actions] == ["Resume", "Run now", "Edit", "Delete"]
        await there.press(cards[0], "Run now")
        assert [task.id for task in await there.tasks()] == ["t1"]
        refused, _ = await there.press(cards[0], "Run now")
        assert refused.status == 2
        await end(there, "t1", TaskState.STOPPED)
        await look(there)
        assert (await one(there)).last_result == "stopped"
        await there.say("/schedules s1")
        await there.press(there.last(), "Edit")
        assert "How should s1 change?" in text(there.last())
        await there.say("every day 7:00 Europe/Berlin")
        assert "every day at 07:00 · Europe/Berlin" in text(there.last())
        assert (await one(there)).work.prompt == "x"
        await there.say("/schedule edit s1 ask why")
        found = await one(there)
        assert (found.work.job, found.work.prompt, found.zone) == ("ask", "why", "Europe/Berlin")
        await there.say("/schedule resume s1")
        await there.say("/schedule delete s1")
        assert (await one(there)).state is ScheduleState.DELETED
        _, cards = await there.say("/schedules")
        assert "0 schedules" in text(cards[0])


async def test_the_list_shows_each_with_its_next_time_and_last_result(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule every hour run x")
        await there.say("/schedule every day 9:00 ask y")
        clock.at("2026-11-28T19:00")
        await look(there)
        await end(there, "t1", TaskState.FAILED)
        await look(there)
        result, cards = await there.say("/schedules", VERA)
        assert text(cards[0]).splitlines()[:3] == [
            "2 schedules",
            "s1 · every hour · next Sat 28 Nov 20:00 · x · last: t1 failed",
            "s2 · every day at 09:00 · next Sun 29 Nov 09:00 · y",
        ]
        assert [action.label for action in cards[0].actions] == ["s1", "s2"]
        assert result.data is not None
        plain = result.data["schedules"]
        assert isinstance(plain, list)
        assert plain[1]["next"][0] == "2026-11-29T09:00:00+00:00"


async def test_only_its_owner_and_an_admin_may_change_it(tmp_path: Path) -> None:
    async with house(tmp_path, clock=SetClock()) as there:
        await there.say("/schedule every hour run x", ADA)
        await there.say("/schedule every hour run y", OTTO)
        for verb in ("pause", "delete", "now", "edit"):
            result, cards = await there.say(f"/schedule {verb} s1", OTTO)
            assert result.status == 2, text(cards[0])
        assert (await there.say("/schedule pause s2", ADA))[0].status == 0
        assert (await there.say("/schedule every hour run z", VERA))[0].status == 2


async def test_a_very_short_interval_asks_for_a_yes(tmp_path: Path) -> None:
    async with house(tmp_path, clock=SetClock()) as there:
        for words in ("every minute", "*/4 * * * *", "0,2 9 * * *"):
            _, cards = await there.say(f"/schedule {words} run x")
            assert "A task every" in text(cards[0])
        assert await there.store.read(schedules.listed) == []
        _, cards = await there.say("/schedule every minute queue run  repo=shop x  y")
        assert "1,440 tasks a day" in text(cards[0])
        await there.press(cards[0], "Yes, schedule it")
        found = await one(there)
        assert (found.work.prompt, found.overlap) == ("x  y", "queue")
        assert (await there.say("/schedule every minute ask x"))[0].status == 0
        assert len(await there.store.read(schedules.listed)) == 2


async def test_a_guided_choice_leads_to_a_schedule(tmp_path: Path) -> None:
    async with house(tmp_path, clock=SetClock()) as there:
        _, cards = await there.say("/schedule")
        assert shown(cards[0].title) == "When?"
        _, cards = await there.press(cards[0], "every weekday 9:00")
        _, cards = await there.press(cards[0], "Run a change")
        assert "Which machine?" in text(cards[0])
        _, cards = await there.press(cards[0], "any")
        assert "Send the prompt." in text(cards[0])
        await there.say("fix the flaky tests")
        assert "every weekday at 09:00" in text(there.last())
        found = await one(there)
        assert (found.work.prompt, found.work.machine) == ("fix the flaky tests", "")
        _, cards = await there.say("/schedule every day run say hello")
        assert shown(cards[0].title) == "Every day, at what time?"
        await there.press(cards[0], "18:00")
        assert (await one(there, "s2")).work.prompt == "say hello"
        _, cards = await there.say("/schedule run later it is")
        await there.press(cards[0], "in 1 hour")
        assert "once, Sat 28 Nov 19:30" in text(there.last())
        assert await there.tasks() == []
