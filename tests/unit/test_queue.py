"""The queue: who starts next, what keeps a task back, and the commands that change it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from bot.cards import shown
from fleet.config import parse_fleet
from fleet.errors import Refused
from fleet.events import FleetPaused, FleetResumed, TaskBumped, TaskChained
from fleet.flight import starting
from fleet.flight.placement import Placed, Waiting, free_login, place
from fleet.flight.slot_line import SlotLine
from fleet.model import ChatRef, Task, TaskMode, TaskState
from fleet.store import ledger, queue, tasks
from fleet.store.core import Tx
from tests.chat_house import ADA, House, house

FLEET = parse_fleet(
    """
isolation = "unsafe-same-user"
[machines.evo-x2]
executor = "local"
slots = 2
[machines.macbook]
executor = "local"
slots = 1
[agents.demo]
driver = "command"
program = ["cat"]
[repos.shop]
url = "/srv/shop.git"
agent = "demo"
""",
    "fleet.toml",
)


def wanting(number: int, machine: str = "") -> Task:
    here = ChatRef("console", "main")
    asked = (f"t{number}", "shop", "demo", machine, "x", TaskMode.CHANGE, TaskState.QUEUED)
    return Task(*asked, why="", requester="console:h:ada", origin=here, created_us=1, updated_us=1)


def test_the_tasks_ahead_choose_first() -> None:
    full = {"evo-x2": 1, "macbook": 1}
    assert place(wanting(2), FLEET, full) == Placed("evo-x2", ("macbook: 1 of 1 slots busy",))
    behind = place(wanting(2), FLEET, full, ahead=[wanting(1)])
    assert behind == Waiting("evo-x2: its free slots are for earlier tasks; macbook: 1 of 1 slots busy")


def test_a_task_ahead_that_wants_another_machine_takes_nothing_from_this_one() -> None:
    full = {"evo-x2": 1, "macbook": 1}
    assert isinstance(place(wanting(2), FLEET, full, ahead=[wanting(1, "macbook")]), Placed)


POOLED = parse_fleet(
    """
isolation = "unsafe-same-user"
[machines.mini]
executor = "local"
slots = 2
run_as = ["a1", "a2", "a3"]
[agents.demo]
driver = "command"
program = ["cat"]
[repos.shop]
url = "/srv/shop.git"
agent = "demo"
""",
    "fleet.toml",
)


def test_a_task_waits_for_a_login_while_tasks_that_wait_for_a_person_have_them_all() -> None:
    kept = {"mini": ["a1", "a3"]}
    assert isinstance(place(wanting(1), POOLED, {}, logins=kept), Placed)
    ahead = place(wanting(2), POOLED, {}, ahead=[wanting(1)], logins=kept)
    assert ahead == Waiting("mini: each of its 3 logins has a task")
    assert free_login(POOLED.machines["mini"], kept["mini"]) == "a2"
    assert free_login(POOLED.machines["mini"], ["a1", "a3", "a2"]) is None
    assert free_login(FLEET.machines["evo-x2"], ["", ""]) == ""


def test_a_session_from_before_the_pool_has_its_first_login() -> None:
    assert free_login(POOLED.machines["mini"], [""]) == "a2"


def test_a_drained_machine_takes_nothing_new() -> None:
    placed = place(wanting(1), FLEET, {}, drained={"evo-x2"})
    assert placed == Placed("macbook", ("evo-x2: drained",))
    assert place(wanting(1, "evo-x2"), FLEET, {}, drained={"evo-x2"}) == Waiting("evo-x2: drained")


def test_only_those_that_try_now_are_ahead_and_leaving_wakes_the_others() -> None:
    line, woken = SlotLine(), list[str]()
    queued = [wanting(1), wanting(2), wanting(3)]
    with line.trying("t3", lambda: woken.append("t3")):
        assert line.ahead(queued, "t3") == []
        with line.trying("t2", lambda: woken.append("t2")):
            assert [task.id for task in line.ahead(queued, "t3")] == ["t2"]
            assert line.ahead(queued, "t2") == []
        assert woken == ["t3"]


async def told(there: House, text: str) -> str:
    _, cards = await there.say(text)
    return "\n".join("\n".join([shown(card.title), *map(shown, card.lines)]) for card in cards)


async def events(there: House, *kinds: str) -> list[object]:
    return [recorded.event for recorded in await there.store.read(lambda tx: ledger.read(tx, kinds=kinds))]


async def test_the_queue_is_shown_in_order_and_a_task_is_put_first(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for words in ("one", "two", "three"):
            await there.say(f"/run {words}")
        assert "t3 is next\nIt passed 2 tasks." in await told(there, "/bump t3")
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
        assert "it takes one machine" in await told(there, "/drain")
        assert "evo-x2 drained" in await told(there, "/drain evo-x2")
        assert set(await there.store.read(queue.pauses)) == {"evo-x2"}
        assert "⏸ evo-x2 drained · Ada" in await told(there, "/queue")
        assert "evo-x2 takes work again" in await told(there, "/undrain evo-x2")
        assert await there.store.read(queue.pauses) == {}


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
        with pytest.raises(Refused, match="t1 ended as stopped"):
            await there.store.read(kept_back)


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
        assert shown((await there.hand_over(in_reply))[1][0].title) == "Stop all? 3 open tasks"


async def test_a_schedule_cannot_wait_for_a_task(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        assert "a schedule starts at a time" in await told(there, "/schedule every day 9:00 run after=t1 x")
