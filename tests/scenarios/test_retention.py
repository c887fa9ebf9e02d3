"""A month later: what was sent and shown in chats is gone from the disk, and nothing that somebody still needs."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update

from bot.app import App
from bot.cards import Card, line
from bot.message import Attachment, Message
from bot.retention import Retention
from fleet.clock import SystemClock
from fleet.errors import StoreUnavailable, Unavailable
from fleet.locks import Granted, HoldEnd, LockCause, Resource, Want
from fleet.model import TaskState
from fleet.store import tables, tasks
from fleet.store.chat import attachments as attachment_rows
from fleet.store.chat import inbox
from fleet.store.core import Tx
from fleet.store.lock_tables import holds
from gates.locks import book
from gates.locks.book import Request
from tests.chat_flight import Flight
from tests.chat_house import CHAT, FLEET, House, house

DAY_US = 86_400_000_000


async def days_pass(there: House, days: int) -> None:
    """As if everything until now, on disk and in the store, had happened so much earlier."""
    times = (
        tables.inbox.c.settled_us,
        tables.outbox.c.settled_us,
        tables.actions.c.used_us,
        tables.tasks.c.updated_us,
    )

    def work(tx: Tx) -> None:
        for column in times:
            earlier = {column.name: column - days * DAY_US}
            tx.connection.execute(update(column.table).where(column != 0).values(earlier))

    await there.store.write(work)
    for path in files(there):
        make_older(path, days)


def make_older(path: Path, days: int) -> None:
    at = path.stat().st_mtime - days * 86_400
    os.utime(path, (at, at))


async def prune(there: House) -> None:
    await Retention(there.store, lambda: there.config, SystemClock(), there.home).prune()


def files(there: House) -> list[Path]:
    return sorted(path for path in (there.home / "files").rglob("*") if path.is_file())


def names(there: House) -> list[str]:
    return [path.name for path in files(there)]


def put_file(there: House, message: Message, name: str) -> Attachment:
    """The platform's part: the file of a message, downloaded to where an adapter puts it."""
    path = there.home / "files" / message.adapter / message.update_id / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a picture")
    return Attachment(name, str(path), "image/png", 9)


async def send(there: House, text: str, name: str) -> Message:
    message = there.message(text)
    message = replace(message, files=(put_file(there, message, name),))
    await there.hand_over(message)
    return message


async def end(there: House, task: str) -> None:
    await there.store.write(lambda tx: tasks.move(tx, task, TaskState.STOPPED, "", "airboss"))
    await there.settle()


async def test_a_file_goes_with_its_task_and_the_message_stays_known(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        message = await send(there, "/run make it look like this", "ended.png")
        await send(there, "/run and like this", "open.png")
        await send(there, "/status", "nobodys.png")
        await end(there, "t1")
        await days_pass(there, 31)
        await prune(there)
        assert names(there) == ["open.png"]
        assert [path.name for path in (there.home / "files" / "phone").iterdir()] == ["u2"]
        assert not await there.core.receive(message), "a redelivery begins nothing"
        payloads = await there.store.read(lambda tx: list(tx.connection.execute(select(tables.inbox.c.payload))))
        assert [bytes(payload.payload) for payload in payloads] == [b""] * 3
        result, _ = await there.hand_over(there.message("stop", reply_to="m2"))
        assert (result.status, result.task) == (0, "t2"), "a reply to an old card finds its task"
        (kept,) = await there.store.read(lambda tx: attachment_rows.of_note(tx, "t1", attachment_rows.REQUEST))
        assert kept.name == "ended.png", "a retry says that the file is gone instead of going on without it"


async def test_a_young_file_and_one_of_a_task_that_ended_lately_stay(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await send(there, "/run make it look like this", "worked-on.png")
        await days_pass(there, 31)
        await end(there, "t1")
        await send(there, "/status", "young.png")
        await days_pass(there, 29)
        await prune(there)
        assert names(there) == ["worked-on.png", "young.png"]
        result, _ = await there.say("/retry t1")
        assert result.task == "t2"
        await days_pass(there, 31)
        await prune(there)
        assert names(there) == ["worked-on.png"], "the retry needs it"


async def test_the_days_are_those_of_the_configuration(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=f"{FLEET}\n[limits]\nchat_retention_days = 3\n") as there:
        await send(there, "/status", "x.png")
        await days_pass(there, 4)
        await prune(there)
        assert names(there) == []


async def test_a_document_goes_when_its_task_or_question_is_over(tmp_path: Path) -> None:
    async with house(tmp_path, documents=True) as there:
        flight = await Flight.begin(there)
        await flight.ask("echo " + "x" * 5_000)
        (question,) = names(there)
        folder = there.home / "files"
        for name in ("t1-log.txt", "t1.diff", "t12-log.txt", "digest-1-9.png"):
            (folder / name).write_text("words")
        await days_pass(there, 31)
        await prune(there)
        assert names(there) == sorted([question, "t1-log.txt", "t1.diff"])
        await flight.move(TaskState.STOPPED)
        await there.store.write(
            lambda tx: tx.connection.execute(update(tables.sessions).values(ended_us=tx.now_us()))
        )
        await days_pass(there, 31)
        await prune(there)
        assert names(there) == []


async def test_a_document_that_waits_to_be_sent_stays_until_it_is(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        folder = there.home / "files"
        folder.mkdir()
        for name in ("shown.txt", "drawn.png"):
            (folder / name).write_text("words")
        card = Card(line("here"), document=str(folder / "shown.txt"), picture=str(folder / "drawn.png"))
        there.phone.trouble.append(Unavailable(attempted="reach the phone"))
        await there.store.write(lambda tx: there.outbox.open(tx).post(CHAT, card))
        while there.phone.trouble:
            await asyncio.sleep(0)
        await days_pass(there, 31)
        await prune(there)
        assert names(there) == ["drawn.png", "shown.txt"]
        await there.settle()
        assert there.last().document
        await prune(there)
        assert names(there) == []


async def test_a_file_that_is_being_fetched_for_a_message_stays(tmp_path: Path) -> None:
    """A platform may hand out a file that lies here since long ago, as Slack does: it keeps its old date."""
    async with house(tmp_path) as there:
        begun, go_on = asyncio.Event(), asyncio.Event()
        message = there.message("/run make it look like this")

        async def fetch(asked: Message) -> Message:
            here = put_file(there, asked, "again.png")
            make_older(Path(here.path), 31)
            (Path(here.path).parent / "next").mkdir()
            begun.set()
            await go_on.wait()
            return replace(asked, files=(here,))

        there.core.fetches("phone", fetch)
        asked = replace(message, files=(Attachment("again.png", "", "image/png", 9, source="F1"),))
        result = asyncio.create_task(there.core.call(asked))
        await begun.wait()
        await prune(there)
        go_on.set()
        await result
        assert names(there) == ["again.png"]
        assert [path.name for path in files(there)[0].parent.iterdir() if path.is_dir()] == ["next"]
        await prune(there)
        assert names(there) == ["again.png"], "its task needs it now"


async def test_a_file_that_came_with_a_message_nobody_handled_yet_stays(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.core.close()
        message = there.message("/run make it look like this")
        message = replace(message, files=(put_file(there, message, "early.png"),))
        await there.store.write(lambda tx: inbox.receive(tx, "phone", message.update_id, message.to_bytes()))
        await days_pass(there, 31)
        await prune(there)
        assert names(there) == ["early.png"]


async def test_locks_that_are_over_go_once_every_open_session_began_after_them(tmp_path: Path) -> None:
    """What another task held while a session's base stood still is in that session's way."""
    async with house(tmp_path, fleet_toml=f"{FLEET}\n[limits]\nspool_retention_days = 3\n") as there:
        await Flight.begin(there)

        def hold(tx: Tx) -> None:
            with book.opened(tx) as page:
                request = Request(
                    "task t1", (Want(Resource("a.txt", "shop")),), DAY_US, LockCause.TOUCHED, task="t1"
                )
                held = page.acquire(request)
                assert isinstance(held, Granted)
                page.release(held.hold, HoldEnd.DONE)

        async def kept(days: int) -> int:
            earlier = {"ended_us": holds.c.ended_us - days * DAY_US}
            await there.store.write(lambda tx: tx.connection.execute(update(holds).values(earlier)))
            await prune(there)
            found = await there.store.read(lambda tx: tx.connection.execute(select(holds.c.id)).all())
            return len(found)

        await there.store.write(hold)
        began = {"started_us": tables.sessions.c.started_us - 9 * DAY_US}
        await there.store.write(lambda tx: tx.connection.execute(update(tables.sessions).values(began)))
        assert await kept(days=4) == 1
        over = {"ended_us": tables.sessions.c.started_us}
        await there.store.write(lambda tx: tx.connection.execute(update(tables.sessions).values(over)))
        assert await kept(days=0) == 0


async def test_what_the_directory_leads_to_outside_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("words")
    async with house(tmp_path / "home") as there:
        (there.home / "files" / "phone").mkdir(parents=True)
        (there.home / "files" / "phone" / "away").symlink_to(outside)
        make_older(outside / "mine.txt", 31)
        await prune(there)
        assert (outside / "mine.txt").exists()


class Noted(SystemClock):
    """Notes that it was asked, which is when files begin to be looked for, and that a sweep is over."""

    asked = False
    slept = 0

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        await super().sleep(0)

    def now_us(self) -> int:
        self.asked = True
        return super().now_us()


async def test_what_is_written_anew_or_filled_meanwhile_stays_and_the_rest_goes(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        folder, clock = there.home / "files", Noted()
        for name in ("one", "two", "three"):
            (folder / "phone" / name).mkdir(parents=True)
        for name in ("t1-log.txt", "t1.diff"):
            (folder / name).write_text("old")
            make_older(folder / name, 31)

        class Meanwhile:
            """Somebody writes files while the controller is in a transaction."""

            def check(self, _: Tx) -> None:
                if clock.asked and (folder / "t1.diff").exists():
                    (folder / "t1-log.txt").write_text("new")
                elif clock.asked:
                    (folder / "phone" / "two" / "filled.txt").write_text("new")

        store = there.store.under(Meanwhile())
        await Retention(store, lambda: there.config, clock, there.home).prune()
        assert names(there) == ["filled.txt", "t1-log.txt"]
        assert [path.name for path in (folder / "phone").iterdir()] == ["two"]


async def test_a_store_that_is_away_is_tried_again(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await send(there, "/status", "old.png")
        await days_pass(there, 31)
        clock = Noted()

        class Away:
            """A store that cannot be written until the first pause."""

            def check(self, _: Tx) -> None:
                if not clock.slept:
                    raise StoreUnavailable(attempted="write to the store")

        store = there.store.under(Away())
        running = asyncio.create_task(Retention(store, lambda: there.config, clock, there.home).run())
        async with asyncio.timeout(60):
            while clock.slept < 2 and not running.done():
                await asyncio.sleep(0)
        assert names(there) == []
        running.cancel()


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a short name, since a socket's path has an end, and with no machine to look at."""
    made = tmp_path_factory.mktemp("h")
    (made / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    (made / "fleet.toml").chmod(0o600)
    return made


async def test_a_running_controller_prunes_by_itself(home: Path) -> None:
    old, young = home / "files" / "old.txt", home / "files" / "young.txt"
    old.parent.mkdir()
    for path in (old, young):
        path.write_text("words")
    os.utime(old, (time.time() - 31 * 86_400,) * 2)
    async with App.open(home), asyncio.timeout(60):
        while old.exists():
            await asyncio.sleep(0.01)
    assert young.exists()


async def test_a_file_that_a_question_still_holds_stays(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await send(there, "/run like this, in which repository?", "mine.png")
        await send(there, "/run on=any", "waits.png")
        await end(there, "t1")
        await days_pass(there, 31)
        await prune(there)
        assert names(there) == ["waits.png"]
        await there.say("make it look like this")
        (task, _) = await there.tasks()
        (kept,) = await there.store.read(lambda tx: attachment_rows.of_note(tx, task.id, attachment_rows.REQUEST))
        assert Path(kept.path).read_bytes() == b"a picture"
