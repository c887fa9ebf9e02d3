"""A conversation through inbox, core, outbox and control socket, with crashes and hostile presses in between."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from bot.chats.console.adapter import ConsoleAdapter
from bot.health import Troubles
from bot.hearing.core import ChatCore
from bot.hearing.rates import PerPerson
from bot.local import client
from bot.local.client import LINE_LIMIT
from bot.local.control import ControlServer
from bot.outbox.port import Outgoing, RetryAfter, Undeliverable
from fleet.errors import Unavailable
from fleet.model import ChatRef
from fleet.store import tasks
from fleet.store.chat import inbox
from tests.chat_house import ADA, CHAT, OTTO, STRANGER, VERA, house
from tests.console_house import exchange, request, served


async def test_an_update_received_before_a_crash_is_handled_after_it_once(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        message = there.message("/run mend it")
        await there.core.close()
        assert await there.core.receive(message)
        assert await there.tasks() == []
    async with house(tmp_path) as later:
        while await later.store.read(inbox.pending):
            await asyncio.sleep(0)
        await later.settle()
        assert [task.prompt for task in await later.tasks()] == ["mend it"]
        assert not await later.core.receive(message)
        assert later.fleet.woken == ["t1"]
        assert any(title.startswith("t1 · shop · mend it") for title in later.phone.titles())


async def test_a_chat_is_answered_in_its_order(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        messages = [there.message(f"/run number {n}") for n in range(12)]
        for message in messages:
            await there.core.receive(message)
        while await there.store.read(inbox.pending):
            await asyncio.sleep(0)
        await there.settle()
        assert [task.prompt for task in reversed(await there.tasks())] == [f"number {n}" for n in range(12)]
        posts = [post for post in there.phone.sent if post.key.startswith("task:") and not post.edits]
        assert [post.key for post in posts] == [f"task:t{n}" for n in range(1, 13)]


async def test_a_reply_to_a_tasks_card_goes_to_its_agent_or_says_why_not(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        card_id = "m1"
        result, _ = await there.hand_over(there.message("use tabs", reply_to=card_id))
        assert result.status == 2  # its agent has not begun
        result, _ = await there.hand_over(there.message("stop", reply_to=card_id))
        assert result.status == 0
        assert await there.store.read(lambda tx: tasks.stopped_by(tx, "t1")) == str(ADA)
        result, _ = await there.hand_over(there.message("hello there"))
        assert result.status == 2


async def test_chatter_in_a_group_is_not_ours(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for sender in (ADA, STRANGER):
            result, cards = await there.hand_over(there.message("status of lunch?", sender, direct=False))
            assert cards == []
            assert result.status == 0


async def test_buttons_are_bound_to_chat_and_right_and_pressed_once(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (card,) = await there.say("/run mend it", OTTO)
        token = next(action.token for action in card.actions if action.label == "Stop")
        foreign = there.message(pressed=token, chat=ChatRef("phone", "c2"))
        for message in (
            foreign,
            there.message(pressed=token, sender=VERA),
            there.message(pressed=token, sender=STRANGER),
            there.message(pressed="forged"),
        ):
            await there.core.call(message)
            assert not await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))
        result, _ = await there.press(card, "Stop", OTTO)
        assert result.status == 0
        result, _ = await there.press(card, "Stop", OTTO)
        assert result.status == 2
        for _ in range(2):
            result, _ = await there.press(card, "Log", OTTO)
            assert result.status == 0


async def test_retry_of_an_open_task_stops_it_and_begins_anew(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run on=macbook mend it")
        result, _ = await there.say("/retry t1")
        assert (result.status, result.task) == (0, "t2")
        assert await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))
        second = (await there.tasks())[0]
        assert (second.retry_of, second.machine, second.prompt) == ("t1", "macbook", "mend it")
        result, _ = await there.say("/retry t1")
        assert result.status == 2
        assert len(await there.tasks()) == 2


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("/run on=toaster x", "no machine called 'toaster'"),
        ("/run repo=zoo x", "no repository called 'zoo'"),
        ("/run agent=bond x", "no agent called 'bond'"),
        ("/stop t77", "no such task"),
    ],
)
async def test_what_does_not_exist_is_named(tmp_path: Path, text: str, cause: str) -> None:
    async with house(tmp_path) as there:
        result, (card,) = await there.say(text)
        assert result.status == 2
        assert cause in card.to_json().replace("\\u2026", "…")
        assert await there.tasks() == []


async def test_a_person_who_floods_is_slowed_and_others_are_not(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        core = ChatCore(
            there.core.context, there.outbox, there.supervisor, rate=PerPerson(limit=2, now=lambda: 0.0)
        )
        statuses = []
        for _ in range(4):
            result = await core.call(there.message("/help", OTTO))
            assert result is not None
            statuses.append(result.status)
        other = await core.call(there.message("/help", ADA))
        assert other is not None
        assert [*statuses, other.status] == [0, 0, 2, 2, 0]
        await core.close()


async def test_an_impatient_platform_gets_everything_in_order(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        away = Unavailable(attempted="reach the phone")
        there.phone.trouble = [RetryAfter(0.01), away, RetryAfter(0.01, everywhere=True)]
        for n in range(3):
            await there.core.call(there.message(f"/run number {n}"))
        await there.settle()
        posts = [post for post in there.phone.sent if post.key.startswith("task:") and not post.edits]
        assert [post.key for post in posts] == ["task:t1", "task:t2", "task:t3"]
        there.phone.trouble = [Undeliverable("the chat is gone")]
        await there.core.call(there.message("/help"))
        await there.core.call(there.message("/machines"))
        await there.settle()
        assert there.phone.titles()[-1] == "2 machines"


async def test_a_card_that_may_go_again_at_once_goes_once(tmp_path: Path) -> None:
    """Its next try is claimed with the record of the first one: nobody else takes it for one that nobody sends."""
    async with house(tmp_path) as there:
        tried: list[Outgoing] = []
        go_on = asyncio.Event()

        async def deliver(outgoing: Outgoing) -> str:
            tried.append(outgoing)
            if len(tried) == 1:
                raise RetryAfter(0)
            await go_on.wait()
            return f"m{len(tried)}"

        there.phone.deliver = deliver  # type: ignore[method-assign]  # a far end that answers late
        await there.core.receive(there.message("/help"))
        while len(tried) < 2:
            await asyncio.sleep(0)
        for _ in range(3):  # somebody looks what there is to send
            there.deliverer.ring("phone", ())
            await there.store.read(lambda tx: None)
            await there.store.write(lambda tx: None)
        go_on.set()
        await there.settle()
        assert len(tried) == 2


async def test_a_status_of_many_fits_a_phone(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for n in range(30):
            await there.core.call(there.message(f"/run number {n}"))
        _, (card,) = await there.say("/status")
        assert len(card.lines) + 1 <= 12
        assert "30 tasks queued" in card.to_json()
        assert "no route to host" in card.to_json()
        assert "unsafe-same-user" in card.footer


# --- the control socket ---------------------------------------------------------------------------------


async def test_say_press_call_and_status_through_the_socket(tmp_path: Path) -> None:
    async with served(tmp_path) as (there, server):
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        shown = await exchange(tmp_path, request(do="say", text="/run mend it", id="once"))
        assert shown[-1] == {"v": 1, "end": 0, "task": "t1"}
        text = "".join(str(frame.get("out", "")) for frame in shown)
        assert "mend it" in text
        assert "[2] Stop" in text
        again = await exchange(tmp_path, request(do="say", text="/run mend it", id="once"))
        assert again[-1] == {"v": 1, "end": 0, "task": "t1", "repeated": True}
        assert "mend it" in str(again[0]["out"]), "the first answer is shown again"
        assert len(await there.tasks()) == 1
        pressed = await exchange(tmp_path, request(do="press", number=2))
        assert pressed[-1]["end"] == 0
        assert await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))
        nothing = (await exchange(tmp_path, request(do="press", number=99)))[-1]
        assert nothing["end"] == 2
        assert str(nothing["error"]).startswith("✋ Cannot press button 99\n")
        assert "control socket" not in str(nothing["error"])
        data = (await exchange(tmp_path, request(do="call", text="/digest all", quiet=True)))[-1]["data"]
        assert isinstance(data, dict)
        assert data["tasks_asked"] == 1
        for text, title in (("/mute off", "Sound is on again"), ("/nonsense", "Cannot do /nonsense")):
            data = (await exchange(tmp_path, request(do="call", text=text, quiet=True)))[-1]["data"]
            assert isinstance(data, dict)
            assert title in json.dumps(data["cards"]), "a message alone, and an error, have its words"
        assert (await exchange(tmp_path, request(do="status")))[-1]["pid"] == os.getpid()


async def test_a_message_that_comes_again_is_handled_once_and_answered_as_the_first(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.core.close()
        assert await there.core.receive(there.message("/run mend it", update="lost"))
        assert await there.core.receive(there.message("/run", update="wrong"))
    async with house(tmp_path) as later:
        twice = [later.core.call(later.message("/run mend it", update="lost")) for _ in range(2)]
        for result in await asyncio.gather(*twice):
            assert (result.status, result.task, result.repeated) == (0, "t1", True)
            assert len(result.posted) == 1
        wrong = await later.core.call(later.message("/run", update="wrong"))
        first = await later.core.call(later.message("/nonsense", update="no such command"))
        again = await later.core.call(later.message("/nonsense", update="no such command"))
        assert (first.status, again.status, first.repeated, again.repeated) == (2, 2, False, True)
        assert first.posted == again.posted and wrong.repeated
        assert len(await later.tasks()) == 1


async def test_a_press_that_comes_again_after_a_restart_is_the_same_press(tmp_path: Path) -> None:
    async with served(tmp_path) as (there, _):
        await exchange(tmp_path, request(do="say", text="/run mend it"))
        pressed = (await exchange(tmp_path, request(do="press", number=2, id="p")))[-1]
        assert pressed["end"] == 0
    async with served(tmp_path) as (there, _):
        again = (await exchange(tmp_path, request(do="press", number=2, id="p")))[-1]
        assert (again["end"], again["repeated"]) == (0, True)
        assert (await exchange(tmp_path, request(do="press", number=2, id="other")))[-1]["end"] == 2
        assert there.fleet.woken == []


async def test_waiting_ends_with_the_tasks_own_status(tmp_path: Path) -> None:
    from fleet.model import TaskState

    async with served(tmp_path) as (there, _):
        waiting = asyncio.create_task(exchange(tmp_path, request(do="say", text="/run mend it", wait=True)))
        while not await there.tasks():
            await asyncio.sleep(0)
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.FAILED, "red for good", "airboss"))
        answers = await waiting
        assert answers[-1]["end"] == 1
        assert "red for good" in "".join(str(answer.get("out", "")) for answer in answers)
        assert (await exchange(tmp_path, request(do="wait", task="t1")))[-1]["end"] == 1


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[1]\n",
        b'{"v": 2, "do": "say"}\n',
        b'{"v": 1, "do": "format"}\n',
        b'{"v": 1}\n',
        b'{"v": 1, "do": "press", "number": 99}\n',
        b'{"v": 1, "do": "press", "number": true}\n',
        b'{"v": 1, "do": "wait", "task": "t9"}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        b"x" * (LINE_LIMIT + 10) + b"\n",
        request(do="say", text=" \n"),
        request(do="call", text="/"),
    ],
)
async def test_a_bad_request_is_answered_and_harms_nobody(tmp_path: Path, line: bytes) -> None:
    async with served(tmp_path) as (_, _):
        (answer,) = await exchange(tmp_path, line)
        assert answer["end"] == 2
        assert answer["error"]
        assert (await exchange(tmp_path, request(do="status")))[-1]["end"] == 0


async def test_a_name_whose_bytes_are_no_text_is_taken_as_it_is(tmp_path: Path) -> None:
    """As Python has them: half a letter, which not every reader of JSON takes."""
    async with served(tmp_path):
        (answer,) = await exchange(tmp_path, request(do="\udcff"))
        assert answer["end"] == 2 and "there is no verb" in str(answer), answer


async def test_a_dead_ones_socket_is_replaced_and_a_living_ones_is_not(tmp_path: Path) -> None:
    left = await asyncio.start_unix_server(lambda r, w: None, str(tmp_path / client.SOCKET))
    os.link(tmp_path / client.SOCKET, tmp_path / "kept")
    left.close()
    if not (tmp_path / client.SOCKET).exists():
        os.link(tmp_path / "kept", tmp_path / client.SOCKET)
    async with served(tmp_path) as (there, server):
        second = ControlServer(tmp_path, there.core, ConsoleAdapter(), there.notifier, there.deliverer)
        with pytest.raises(Unavailable):
            await second.start()
        assert (await exchange(tmp_path, request(do="status")))[-1]["end"] == 0
    with pytest.raises(client.NotServed):
        client.connect(str(tmp_path))
    assert not server.path.exists()


async def test_follow_shows_every_card_until_the_client_goes(tmp_path: Path) -> None:
    async with served(tmp_path) as (there, _):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / client.SOCKET))
        writer.write(request(do="follow"))
        assert json.loads(await reader.readline()) == {"v": 1, "out": ""}
        await exchange(tmp_path, request(do="say", text="/help", quiet=True))
        assert "airboss" in json.loads(await reader.readline())["out"]
        writer.close()
        await there.settle(CHAT)


async def test_a_press_that_changes_a_card_shows_its_new_buttons_in_the_console(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, _server):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / client.SOCKET))
        writer.write(request(do="follow"))
        await reader.readline()
        await exchange(tmp_path, request(do="say", text="/help", quiet=True))
        while "[3] Look" not in json.loads(await reader.readline())["out"]:
            pass  # what this version changed is shown first
        for number, seen in ((3, "[6] Back"), (6, "[7] Look"), (7, "[8] Back")):
            assert (await exchange(tmp_path, request(do="press", number=number, quiet=True)))[-1]["end"] == 0
            assert seen in json.loads(await reader.readline())["out"]
        writer.close()


async def test_the_console_says_what_it_can_while_the_store_is_away(tmp_path: Path) -> None:
    async with served(tmp_path, patience=0.01) as (there, _):
        other = sqlite3.connect(tmp_path / "airboss.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            answers = await exchange(tmp_path, request(do="say", text="/status"))
            assert str(answers[0]["out"]).startswith("airboss 0.1.0 since ")
            assert "the store is unavailable: database is locked" in str(answers[0]["out"])
            assert "⚠ macbook · not seen yet · no route to host" in str(answers[0]["out"])
            assert answers[-1]["end"] == 3
            there.fleet.wrong = Troubles(
                "the store has been unavailable since 12:00 UTC: disk full", ("notifier died once",)
            )
            known = await exchange(tmp_path, request(do="say", text="status"))
            said = str(known[0]["out"]).splitlines()
            assert said[1:3] == [
                "⚠ the store has been unavailable since 12:00 UTC: disk full",
                "⚠ notifier died once",
            ]
            refused = await exchange(tmp_path, request(do="say", text="/run repo=shop agent=demo -- fix it"))
            assert refused[-1]["end"] == 3 and "database is locked" in str(refused[-1]["error"])
        finally:
            other.close()
        troubles = (await exchange(tmp_path, request(do="status")))[-1]["troubles"]
        assert troubles == list(there.fleet.wrong.lines)
