"""The queue: who starts next, what keeps a task back, and the commands that change it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bot.cards import shown
from bot.landing_view import landing_lines
from bot.telling.alarms import Alarms
from fleet.events import BaseMoved, FleetPaused, FleetResumed, LandingsResumed, TaskBumped, TaskChained
from fleet.flight import starting
from fleet.model import TaskState
from fleet.store import base_tips, ledger, queue, sessions, tasks
from fleet.store.base_tips import BaseTip
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx
from fleet.store.landing_line import LandingPlace
from fleet.store.states import PlaceState
from tests.chat_house import ADA, OTTO, House, house


async def told(there: House, text: str) -> str:
    _, cards = await there.say(text)
    return "\n".join("\n".join([shown(card.title), *map(shown, card.lines)]) for card in cards)


async def events(there: House, *kinds: str) -> list[object]:
    return [recorded.event for recorded in await there.store.read(lambda tx: ledger.read(tx, kinds=kinds))]


async def test_the_queue_is_shown_in_order_and_a_task_is_put_first(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for words in ("one", "two", "three"):
            await there.say(f"/run {words}")
        assert "t3 is first in line\nIt passed 2 tasks." in await told(there, "/bump t3")
        assert "It was first already." in await told(there, "/bump t3")
        shown_queue = await told(there, "/queue")
        assert [line[:5] for line in shown_queue.splitlines()] == ["3 tas", "1. t3", "2. t1", "3. t2"]
        assert await events(there, TaskBumped.KIND) == [TaskBumped(2)]
        await there.store.write(lambda tx: tasks.move(tx, "t3", TaskState.PREPARING, "", "airboss"))
        assert "it does not wait for a slot" in await told(there, "/bump t3")


async def test_a_paused_fleet_says_so_and_starts_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        assert "nothing new starts" in await told(there, "/pause")
        assert "it is already paused" in await told(there, "/pause")
        (task,) = await there.tasks()
        assert f"paused by {ADA}" in await there.store.read(lambda tx: starting.kept_back(tx, task))
        assert "⏸ paused: nothing new starts · Ada" in await told(there, "/status")
        there.fleet.woken.clear()
        assert "Fleet resumed\n1 task in /queue." in await told(there, "/resume")
        assert there.fleet.woken == [""]
        assert "it is not paused" in await told(there, "/resume")
        assert await there.store.read(lambda tx: starting.kept_back(tx, task)) == ""
        assert await events(there, FleetPaused.KIND, FleetResumed.KIND) == [FleetPaused(""), FleetResumed("")]


async def test_a_machine_is_drained_by_name(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        assert "unknown machine nowhere" in await told(there, "/drain nowhere")
        assert "it takes a machine" in await told(there, "/drain")
        assert "a new disk" in await told(there, "/drain evo-x2 a new\ndisk")
        assert set(await there.store.read(queue.pauses)) == {"evo-x2"}
        assert "⏸ evo-x2 drained · Ada · 0 s · a new disk" in await told(there, "/queue")
        assert "Refused to drain evo-x2" in await told(there, "/drain evo-x2")
        assert "evo-x2 takes work again" in await told(there, "/undrain evo-x2")
        assert "Refused to undrain evo-x2" in await told(there, "/undrain evo-x2")
        assert await there.store.read(queue.pauses) == {}
        both = await told(there, "/drain evo-x2 macbook")
        assert "macbook is another" in both and await there.store.read(queue.pauses) == {}


async def test_a_task_starts_after_another_has_landed(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        await there.say("/run after=t1 two")
        assert "no such task" in await told(there, "/run after=t9 three")
        (second, _) = await there.tasks()
        assert (second.after, second.prompt) == ("t1", "two")
        assert await events(there, TaskChained.KIND) == [TaskChained("t1")]

        def kept_back(tx: Tx) -> str:
            return starting.kept_back(tx, second)

        assert await there.store.read(kept_back) == "starts after t1 has landed"
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.STOPPED, "", "airboss"))
        assert await there.store.read(kept_back) == "was to start after t1, which ended as stopped"


async def test_a_task_that_does_not_wait_is_not_answered_with_the_whole_queue(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        assert "1 task queued" in await told(there, "/queue t1")
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.STOPPED, "", "airboss"))
        assert "it is stopped" in await told(there, "/queue t1") and "no such task" in await told(
            there, "/queue t9"
        )


async def test_all_tasks_are_stopped_after_one_question(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        assert "none is open" in await told(there, "/stop all")
        await there.say("/run one")
        await there.say("/run two")
        _, (card,) = await there.say("/stop all")
        assert shown(card.title) == "Stop all? 2 open tasks"
        assert await there.store.read(lambda tx: tasks.stopped_by(tx, "t1")) == ""
        await there.say("/run three")
        _, (done,) = await there.press(card, "Stop all")
        for task in ("t1", "t2"):
            assert await there.store.read(partial(tasks.stopped_by, task_id=task)) == str(ADA)
        assert await there.store.read(partial(tasks.stopped_by, task_id="t3")) == "", "the question did not show it"
        assert shown(done.title) == "Stopping 2 tasks"
        assert "not stopped: t3" in shown(done.lines[-1])
        in_reply = there.message("/stop all", reply_to="m1")
        assert shown((await there.hand_over(in_reply))[1][0].title) == "Stop all? 1 open task"


async def test_only_an_admin_puts_somebody_elses_task_first(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        await there.say("/run two", OTTO)
        await there.say("/run three", OTTO)
        refused = (await there.say("/bump t1", OTTO))[1][-1]
        assert "this needs the role admin" in shown(refused.lines[0])
        assert "t3 is first in line" in shown((await there.say("/bump t3", OTTO))[1][0].title)
        assert "t2 is first in line" in await told(there, "/bump t2")
        assert await events(there, TaskBumped.KIND) == [TaskBumped(2), TaskBumped(2)]


async def test_people_take_turns_in_the_queue(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for words in ("one", "two", "three"):
            await there.say(f"/run {words}")
        await there.say("/run mine", OTTO)
        order = [line.split()[1] for line in (await told(there, "/queue")).splitlines()[1:]]
        assert order == ["t1", "t4", "t2", "t3"]


async def test_a_task_that_must_not_wait_gets_a_slot_at_once_or_is_refused_machine_by_machine(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as there:
        assert (await there.say("/run wait=no one"))[0].status == 0
        kept = await there.store.read(queue.reserved)
        assert list(kept) == ["t1"]
        assert "starts on " in await told(there, "/queue")
        for machine in there.config.machines:
            await told(there, f"/drain {machine}")
        result, (card,) = await there.say("/run wait=no two")
        said = "\n".join(map(shown, card.lines))
        assert result.status == 2
        assert all(f"{machine}: drained" in said for machine in there.config.machines)
        assert "Leave wait=no out" in said
        assert len(await there.tasks()) == 1, "its request is undone"
        waiting = await told(there, "/run three")
        assert "drained" in waiting, "one that may wait says so at once"
        assert "unknown answer perhaps" in await told(there, "/run wait=perhaps four")
        assert "after= waits for a task" in await told(there, "/run wait=no after=t1 five")
        assert await there.store.read(queue.served) == {(str(ADA), "shop"): 1}


async def test_a_task_whose_first_one_did_not_land_asks_and_starts_or_is_dropped(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        await there.say("/run after=t1 two")
        await there.say("/run after=t1 three")
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.FAILED, "red", "airboss"))
        await there.settle()
        cards = {shown(card.title): card for card in (sent.card for sent in there.phone.sent)}
        second, third = (cards[f"t{n} waits for you: t1 did not land"] for n in (2, 3))
        _, (answer,) = await there.press(second, "Run anyway")
        assert shown(answer.title) == "t2 starts without t1"
        await there.press(third, "Drop")
        assert await there.store.read(lambda tx: tasks.stopped_by(tx, "t3")) == str(ADA)
        now = await there.store.read(lambda tx: tasks.task(tx, "t2"))
        assert (now.after, await there.store.read(partial(starting.kept_back, task=now))) == ("", "")
        assert await events(there, TaskChained.KIND) == [TaskChained("t1"), TaskChained("t1"), TaskChained("")]
        assert "t1 has ended as failed" in await told(there, "/run after=t1 four")


async def test_stop_all_names_what_cannot_be_checked_now(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")

        def on_macbook(tx: Tx) -> None:
            sessions.create_session(
                tx, task="t1", machine="macbook", agent="demo", base="b" * 40, isolation=there.config.isolation
            )
            tasks.move(tx, "t1", TaskState.PREPARING, "", "airboss")

        await there.store.write(on_macbook)
        assert "macbook does not answer, so this ends later: t1" in await told(there, "/stop all yes")


async def test_a_schedule_cannot_wait_for_a_task(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        assert "a schedule starts at a time" in await told(there, "/schedule every day 9:00 run after=t1 x")


async def test_who_waits_to_land_is_shown_and_landings_that_stopped_go_on_by_an_admin(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        places = [
            LandingPlace("t1", "shop", base="m", commit="a", state=PlaceState.MERGED),
            LandingPlace("t2", "shop", base="a", commit="b", behind=("t1",), state=PlaceState.PASSED),
            LandingPlace("t3", "shop", base="b", behind=("t1",), without=("t9: check failed",)),
        ]
        shown_lines = [shown(each) for each in landing_lines({"shop": places, "docs": places[:1]}, {})]
        assert shown_lines == [
            "Landing in shop: 3 changes",
            "  1. t1 is judged",
            "  2. t2 passed on top of t1",
            "  3. t3 waits on top of t1 · without t9: check failed",
        ]
        repo = "shop"
        assert "they have not stopped" in await told(there, f"/resume {repo}")
        event = BaseMoved(repo, "refs/heads/main", "a", "b", 1, rewritten=True, stops=True)

        def stop(tx: Tx) -> None:
            base_tips.seen(tx, BaseTip(repo, "refs/heads/main", "a"))
            for _ in range(2):  # another flight saw the same
                base_tips.moved(tx, BaseTip(repo, "refs/heads/main", "a"), event, "main was rewritten")

        await there.store.write(stop)
        assert f"⏸ {repo} lands nothing: main was rewritten · /resume {repo}" in await told(there, "/queue")
        alarms = Alarms(there.outbox, lambda: there.config, list, ("phone",))
        await alarms.look()
        await alarms.look()
        cards = await there.store.read(lambda tx: card_rows.by_key(tx, f"alarm:landings {repo}"))
        assert len(cards) == 1 and f"/resume {repo}" in cards[0].card_json, "an admin is asked, once"
        refused = (await there.say(f"/resume {repo}", OTTO))[1][-1]
        assert "needs the role" in "\n".join(map(shown, refused.lines))
        assert f"Landings in {repo} go on" in await told(there, f"/resume {repo}")
        assert await events(there, BaseMoved.KIND, LandingsResumed.KIND) == [event, LandingsResumed(repo)]
        assert "unknown repository nowhere" in await told(there, "/resume nowhere")


async def test_what_waits_for_a_task_waits_for_its_retry(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for words in ("one", "after=t1 two", "after=t2 three"):
            await there.say(f"/run {words}")
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.FAILED, "red", "airboss"))
        await there.settle()
        asked = next(s.card for s in there.phone.sent if shown(s.card.title) == "t2 waits for you: t1 did not land")
        await there.say("/retry t1")
        assert "t2 starts after t4, which runs t1 again" in there.phone.titles()
        assert (await there.press(asked, "Run anyway"))[0].status == 2
        await there.say("/retry t2")

        def chains(tx: Tx) -> list[tuple[str, str]]:
            return [(task.id, task.after) for task in queue.line(tx)]

        assert await there.store.read(chains) == [("t2", "t4"), ("t3", "t5"), ("t4", ""), ("t5", "t4")]


async def test_a_task_that_is_being_stopped_too_asks_nothing_about_the_one_before_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        await there.say("/run after=t1 two")
        await there.say("/stop all yes")
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.STOPPED, "", "airboss"))
        await there.settle()
        assert not any("waits for you" in title for title in there.phone.titles())


async def test_a_reason_that_many_wait_for_is_said_once_a_page(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/pause")
        for number in range(12):
            await there.say(f"/run {number}")
        for page in ("/queue", "/queue 2"):
            rows = [row for row in (await told(there, page)).splitlines() if " shop · " in row]
            assert "paused by Ada" in rows[0] and all(row.endswith(" · the same") for row in rows[1:])
