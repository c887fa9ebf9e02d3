"""A commit is done and its answer is lost: whoever would have heard of it looks, and nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.cards import Card, line
from bot.hearing.core import ChatCore
from bot.message import Attachment, Message
from bot.outbox.delivering import Deliverer
from bot.outbox.port import RetryAfter, Unsure
from bot.schedules.beats import Beats
from fleet.clock import SystemClock
from fleet.errors import StoreUnavailable
from fleet.events import RootPosted
from fleet.faults import Fault, Point, injected, site_of
from fleet.flight.dispatcher import Dispatcher
from fleet.locks import Hold, Lock, LockCause, Resource, Want
from fleet.model import TaskState
from fleet.schedule.timer import Timer
from fleet.store import ledger, tasks
from fleet.store.chat import settings
from fleet.store.chat.outbox import thread_of
from fleet.store.core import Tx
from fleet.supervise import Supervisor, alongside
from gates.locks.remembered import Remembered
from tests.chat_flight import Flight
from tests.chat_house import CHAT, OTTO, House, house
from tests.console_house import exchange, request, served
from tests.flying import world
from tests.scenarios.fault_house import PacedLoop
from tests.sites import site_within


async def unheard(write: Awaitable[Any], site: str) -> None:
    """This commit is done, and nobody hears of it."""
    with injected(Fault(Point.STORE_ANSWER, site=site)) as lost, pytest.raises(StoreUnavailable):
        await write
    assert lost.raised == 1


def nothing(tx: Tx) -> None:
    settings.put(tx, "nothing", "1")


def ends(tx: Tx) -> None:
    tasks.move(tx, "t1", TaskState.UNAVAILABLE, "no room", "airboss")


async def quiet(there: House) -> None:
    """Until everything is told, and whoever looks once more has done so."""
    await there.settle()
    for _ in range(5):
        await there.store.write(nothing)


async def once(there: House, title: str) -> None:
    """Until such a card is shown."""
    while not any(title in shown_title for shown_title in there.phone.titles()):
        await asyncio.sleep(0.01)


async def test_a_message_is_handled_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fetching, go_on = asyncio.Event(), asyncio.Event()

    async def fetch(message: Message) -> Message:
        fetching.set()
        await go_on.wait()
        return replace(message, files=())

    async with house(tmp_path) as there:
        there.core.fetches("phone", fetch)
        asked = there.message("/run repo=shop agent=demo -- fix it", files=(Attachment("a", "", "x/y", 1, "far"),))
        await unheard(there.core.receive(asked), site_within(ChatCore._receive, "work"))
        await fetching.wait()
        await unheard(there.store.write(nothing), site_of(nothing))  # looked for once more, while it is handled
        while "missed messages" in {each.name for each in there.supervisor.health()}:
            await asyncio.sleep(0.01)
        go_on.set()
        await once(there, "fix it")
        assert not await there.core.receive(asked), "it comes again, and is known"
        await there.settle()
        assert [task.prompt for task in await there.tasks()] == ["fix it"]
        while "chat phone c1" in {each.name for each in there.supervisor.health()}:
            await asyncio.sleep(0.01)
    assert "not pending" not in caplog.text


async def test_what_happened_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await Flight.begin(there)
        await quiet(there)
        await unheard(there.store.write(ends), site_of(ends))
        await once(there, "t1 · unavailable")


async def test_who_waits_for_a_task_hears_of_its_end(tmp_path: Path) -> None:
    async with served(tmp_path) as (there, _):
        await Flight.begin(there)
        await quiet(there)
        async with alongside(exchange(tmp_path, request(do="wait", task="t1")), "wait") as waiting:
            while not [each for each in asyncio.all_tasks() if each.get_name() == "control client"]:
                await asyncio.sleep(0.01)
            await there.store.read(lambda tx: None)  # it has looked once
            await unheard(there.store.write(ends), site_of(ends))
            (answer,) = await waiting
        assert answer["end"] == 3


async def test_schedules_are_looked_at(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        alarm = Timer(SystemClock()).alarm("schedules")
        Beats(there.core.context, there.outbox, alarm)
        await quiet(there)
        await unheard(there.store.write(nothing), site_of(nothing))
        await alarm.rung()


async def test_flights_voice_messages_and_locks_are_looked_at(tmp_path: Path) -> None:
    there = world(tmp_path)
    with there.store:
        Dispatcher(there.services, Supervisor(there.clock), "1")
        assert not there.services.slot_line.changed.is_set()
        await unheard(there.store.write(nothing), site_of(nothing))
        assert there.services.slot_line.changed.is_set()

        remembered, want = Remembered(there.store), Want(Resource("a.txt", "shop"))
        hold = Hold("1", "t1", "t1", "", 0, 0)
        remembered.keep(
            hold,
            [Lock("1", want.resource, want.mode, LockCause.DECLARED, 1, 0)],
            until_us=1 << 60,
            ends=remembered.ends,
        )
        assert remembered.covers("t1", [want])
        await unheard(there.store.write(nothing), site_of(nothing))
        assert not remembered.covers("t1", [want]), "it may have ended"
    (tmp_path / "chat").mkdir()
    async with house(tmp_path / "chat") as chat:
        await unheard(chat.store.write(nothing), site_of(nothing))
        assert chat.core.voices._wake.is_set()


def test_who_waits_for_a_chat_does_not_wait_for_what_is_given_up(tmp_path: Path) -> None:
    """Its person lost every right meanwhile, and nothing is sent there any more."""

    async def play() -> None:
        async with house(tmp_path) as there:
            await there.hand_over(there.message("/status", OTTO))
            there.phone.trouble = [RetryAfter(1.0)]
            await there.store.write(lambda tx: there.outbox.open(tx).post(CHAT, Card(line("for Otto")), task="t1"))
            while there.phone.trouble:
                await asyncio.sleep(0.01)
            there.configured(there.config.model_copy(update={"people": []}))
            await there.deliverer.drained(CHAT)
            assert there.phone.titles()[1:] == []

    with asyncio.Runner(loop_factory=lambda: PacedLoop(10)) as runner:
        runner.run(play())


async def test_what_came_of_a_card_is_recorded_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with house(tmp_path) as there:
        await there.settle()
        card = Card(line("root"), root=f"1:{'ab' * 32}")
        with injected(Fault(Point.STORE_ANSWER, site=site_within(Deliverer._settle, "work"))) as lost:
            await there.store.write(lambda tx: there.outbox.open(tx).post(CHAT, card, key="root"))
            await there.deliverer.drained(CHAT)
        assert lost.raised == 1
        assert there.phone.titles() == ["root"]
        posted = await there.store.read(lambda tx: ledger.read(tx, kinds=(RootPosted.KIND,)))
        assert len(posted) == 1
        assert await there.store.read(lambda tx: thread_of(tx, "root", CHAT.adapter, CHAT.chat)) == "m1"
    assert "ended with an error" not in caplog.text


@pytest.mark.parametrize("half", [False, True])
async def test_a_card_that_may_be_shown_is_marked_by_whoever_sends_it_next(tmp_path: Path, half: bool) -> None:
    """The mark is in the row, so the next process has it too."""
    away = Unsure(attempted="reach the phone", cause="its answer was lost")
    later = RetryAfter(0.0)
    later.unsure = True
    async with house(tmp_path) as there:
        there.phone.trouble = [later if half else away]
        await there.store.write(lambda tx: there.outbox.open(tx).post(CHAT, Card(line("once"))))
        await there.deliverer.drained(CHAT)
        assert [sent.again for sent in there.phone.sent] == [True]


def test_a_wait_that_is_absurd_ends() -> None:
    asked = (-1.0, 2.5, 1e18, float("inf"), float("nan"))
    assert [RetryAfter(seconds).seconds for seconds in asked] == [0.0, 2.5, 3_600.0, 3_600.0, 3_600.0]
