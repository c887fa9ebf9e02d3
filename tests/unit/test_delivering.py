"""The deliverer outlives every error: its worker begins again from the store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.cards import Action, Card, line, shown
from bot.message import Attachment, Message
from bot.outbox.port import Outgoing, Receive
from fleet.errors import StoreUnavailable
from fleet.faults import Fault, Point, injected
from fleet.model import ChatRef
from fleet.store.chat import outbox
from fleet.store.core import Tx
from fleet.supervise import Health, alongside
from tests.chat_house import CHAT, House, house


def rename(there: House, old: str, new: str) -> None:
    """Makes every statement about a table fail, or lets it work again."""
    with sqlite3.connect(there.home / "airboss.db") as other:
        other.execute(f"ALTER TABLE {old} RENAME TO {new}")
    other.close()


@contextmanager
def busy(there: House) -> Iterator[sqlite3.Connection]:
    """Another writer keeps the database to itself; what it writes is committed in the end."""
    other = sqlite3.connect(there.home / "airboss.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
        other.execute("COMMIT")
    finally:
        other.close()


async def health(there: House, name: str, so: Callable[[Health], bool]) -> Health:
    """Waits until a component is so."""
    while True:
        for found in there.supervisor.health():
            if found.name == name and so(found):
                return found
        await asyncio.sleep(0.01)


async def say(there: House, text: str) -> None:
    await there.store.write(lambda tx: there.outbox.open(tx).post(CHAT, Card(line(text))))


async def test_a_worker_that_cannot_read_begins_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with house(tmp_path) as there:
        await say(there, "before")
        await there.deliverer.drained(CHAT)
        rename(there, "outbox", "away")
        there.deliverer.ring("phone", ())
        assert "no such table" in (await health(there, "deliver phone", lambda it: it.deaths > 0)).error
        rename(there, "away", "outbox")
        await say(there, "after")
        await there.deliverer.drained(CHAT)
        assert there.phone.titles() == ["before", "after"]
    assert "deliver phone died" in caplog.text


async def test_a_claim_that_nobody_heard_of_is_sent_again_and_marked(tmp_path: Path) -> None:
    """As when a commit succeeds and its answer is lost on the way."""
    async with house(tmp_path) as there:

        def claimed(tx: Tx) -> None:
            there.outbox.open(tx).post(CHAT, Card(line("claimed")))
            assert len(outbox.claim(tx, "phone", 8)) == 1

        await there.store.write(claimed)
        await there.deliverer.drained(CHAT)
        assert [(there.phone.titles(), sent.again) for sent in there.phone.sent] == [(["claimed"], True)]


class Slow:
    """An adapter that sends when it is told to."""

    name = "slow"

    def __init__(self) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.sent: list[Outgoing] = []

    async def start(self, receive: Receive) -> None:
        """Nothing comes in here."""

    async def deliver(self, outgoing: Outgoing) -> str:
        self.asked.set()
        await self.go_on.wait()
        self.sent.append(outgoing)
        return f"m{len(self.sent)}"

    async def close(self) -> None:
        """Nothing is held."""


async def test_what_came_of_a_card_is_recorded_once_the_store_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow, there_too = Slow(), ChatRef("slow", "1")
    async with house(tmp_path, more=(slow,), patience=0.01) as there:
        await there.store.write(lambda tx: there.outbox.open(tx).post(there_too, Card(line("once"))))
        await slow.asked.wait()
        with busy(there):
            slow.go_on.set()
            while "waiting for the store" not in caplog.text:
                await asyncio.sleep(0.01)
        await there.deliverer.drained(there_too)
        assert [(shown(sent.card.title), sent.again) for sent in slow.sent] == [("once", False)]


async def test_a_message_whose_effect_cannot_be_committed_is_done_once_the_store_is_back(tmp_path: Path) -> None:
    fetching, go_on = asyncio.Event(), asyncio.Event()

    async def fetch(message: Message) -> Message:
        fetching.set()
        await go_on.wait()
        return replace(message, files=())

    async with house(tmp_path, patience=0.01) as there:
        there.core.fetches("phone", fetch)
        asked = there.message("/run repo=shop agent=demo -- fix it", files=(Attachment("a", "", "x/y", 1, "far"),))
        async with alongside(there.core.call(asked), "call") as call:
            await fetching.wait()
            with busy(there):
                go_on.set()
                assert (await health(there, "chat phone c1", lambda it: it.store_away)).deaths == 0
                assert not call.done()
            result = await call
        assert result is not None and result.status == 0
        assert [task.prompt for task in await there.tasks()] == ["fix it"]


async def test_a_commit_that_fails_once_is_nobodys_answer(tmp_path: Path) -> None:
    fetching, go_on = asyncio.Event(), asyncio.Event()

    async def fetch(message: Message) -> Message:
        fetching.set()
        await go_on.wait()
        return replace(message, files=())

    async with house(tmp_path) as there:
        there.core.fetches("phone", fetch)
        asked = there.message("/run repo=shop agent=demo -- fix it", files=(Attachment("a", "", "x/y", 1, "far"),))
        async with alongside(there.core.call(asked), "call") as call:
            await fetching.wait()
            with injected(Fault(Point.STORE_COMMIT)):
                go_on.set()
                result = await call
        assert result is not None and result.status == 0
        assert [task.prompt for task in await there.tasks()] == ["fix it"]


async def test_a_message_whose_commit_succeeded_unheard_is_not_done_twice(tmp_path: Path) -> None:
    fetching, go_on = asyncio.Event(), asyncio.Event()

    async def fetch(message: Message) -> Message:
        fetching.set()
        await go_on.wait()
        return replace(message, files=())

    async with house(tmp_path, patience=0.01) as there:
        there.core.fetches("phone", fetch)
        asked = there.message("/run repo=shop agent=demo -- fix it", files=(Attachment("a", "", "x/y", 1, "far"),))
        async with alongside(there.core.call(asked), "call") as call:
            await fetching.wait()
            with busy(there) as other:
                go_on.set()
                await health(there, "chat phone c1", lambda it: it.store_away)
                other.execute("UPDATE inbox SET state = 'done'")
            await call
        assert await there.tasks() == []


async def test_a_button_keeps_its_token_when_its_card_is_drawn_again(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        card = Card(line("one"), actions=(Action("Help", "/help", once=False), Action("Stop", "/stop t1")))
        await there.store.write(lambda tx: there.outbox.open(tx).post(CHAT, card, key="task:t1"))
        await there.deliverer.drained(CHAT)
        shown_card = there.phone.sent[-1].card
        await there.press(shown_card, "Help")
        again = replace(card, title=line("two"))
        await there.store.write(lambda tx: there.outbox.open(tx).repost(CHAT, again, key="task:t1"))
        await there.deliverer.drained(CHAT)
        assert there.phone.sent[-1].card.actions == shown_card.actions


async def test_no_message_is_acknowledged_without_its_row(tmp_path: Path) -> None:
    async with house(tmp_path, patience=0.01) as there:
        message = there.message("/status")
        with busy(there), pytest.raises(StoreUnavailable):
            await there.core.receive(message)
        assert await there.core.receive(message), "it comes again, and counts as new"
