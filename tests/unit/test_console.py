"""The console as a chat: a terminal that stops reading harms nobody, and repeated edits are one line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bot import client
from bot.cards import Card, line
from bot.chats.console import BEHIND, MAIN, ConsoleAdapter
from bot.control import ControlServer
from bot.deliver import Outgoing, post, repost
from fleet.errors import Unavailable
from fleet.store.core import Tx
from tests.chat_house import house


def card(number: int) -> Outgoing:
    return Outgoing(number, MAIN, Card(line(f"card {number}")), "", False, False, "", "")


async def test_a_terminal_that_stops_reading_is_let_go_and_another_sees_everything() -> None:
    console = ConsoleAdapter()
    with console.follow() as idle, console.follow() as busy:
        for number in range(BEHIND + 5):
            await console.deliver(card(number))
            assert (await busy.get()).id == number
        with pytest.raises(Unavailable, match="did not read"):
            await idle.get()
        assert idle.empty()


async def test_a_reader_that_waits_is_woken() -> None:
    console = ConsoleAdapter()
    with console.follow() as following:
        waiting = asyncio.ensure_future(following.get())
        await asyncio.sleep(0)
        await console.deliver(card(1))
        assert (await waiting).id == 1


async def test_an_edit_that_says_the_same_line_is_printed_once(tmp_path: Path) -> None:
    console = ConsoleAdapter()
    async with house(tmp_path, more=(console,)) as there:
        server = ControlServer(tmp_path, there.core, console, there.notifier, there.deliverer)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / client.SOCKET))
        writer.write(json.dumps({"v": 1, "do": "follow"}).encode() + b"\n")
        await reader.readline()
        for footer in ("", "one", "two", "three"):

            def say(tx: Tx, footer: str = footer) -> None:
                if footer:
                    repost(tx, MAIN, Card(line("t1 · shop"), (line("running"),), footer=footer), key="task:t1")
                else:
                    post(tx, MAIN, Card(line("t1 · shop")), key="task:t1")

            await there.store.write(say)
            await there.settle(MAIN)
        await there.store.write(lambda tx: post(tx, MAIN, Card(line("the end"))))
        shown = ""
        while "the end" not in shown:
            shown += json.loads(await reader.readline())["out"]
        assert shown.count("running") == 1
        writer.close()
        await server.close()
