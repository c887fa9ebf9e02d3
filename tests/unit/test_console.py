"""The console as a chat: a terminal that stops reading harms nobody, and repeated edits are one line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path

import pytest

from bot.cards import Card, line
from bot.chats.console.adapter import BEHIND, ConsoleAdapter
from bot.chats.console.render import render
from bot.local import client
from bot.local.control import ControlServer
from bot.local.listening import Listening
from bot.local.serving import _say
from bot.outbox.port import Outgoing
from fleet.errors import Unavailable
from fleet.store.core import Tx
from fleet.supervise import alongside
from fleet.untrusted import Untrusted
from gates.people import CONSOLE_MAIN
from tests.chat_house import house
from tests.scenarios.fault_house import PacedLoop


def card(number: int) -> Outgoing:
    return Outgoing(number, CONSOLE_MAIN, Card(line(f"card {number}")), "", False, False, "", "")


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
                    there.outbox.open(tx).repost(
                        CONSOLE_MAIN, Card(line("t1 · shop"), (line("running"),), footer=footer), key="task:t1"
                    )
                else:
                    there.outbox.open(tx).post(CONSOLE_MAIN, Card(line("t1 · shop")), key="task:t1")

            await there.store.write(say)
            await there.settle(CONSOLE_MAIN)
        await there.store.write(lambda tx: there.outbox.open(tx).post(CONSOLE_MAIN, Card(line("the end"))))
        shown = ""
        while "the end" not in shown:
            shown += json.loads(await reader.readline())["out"]
        assert shown.count("running") == 1
        writer.close()
        await server.close()


def drawn(text: str, document: str = "") -> list[str]:
    """What a terminal shows of a body, without the frame."""
    card = Card(line("t1"), body=Untrusted(text), document=document)
    rows = render(card, lambda action: 0, colour=False).splitlines()
    return [row.strip("│╭╰╮╯─ ") for row in rows]


def test_a_body_is_cut_at_a_line_and_what_is_left_out_is_counted() -> None:
    rows = drawn("\n".join(f"line {number}" for number in range(1, 5_001)))
    assert [row for row in rows if row.startswith(("line", "…"))][-2:] == ["line 39", "… 4961 more lines"]
    assert "… 8 more lines" in drawn("\n".join("x" * 499 for _ in range(16)))
    assert not any("…" in row for row in drawn("\n".join(f"line {number}" for number in range(40))))
    assert "… the file has all of it" in drawn("x\n" * 100, document="/f/t1-answer.txt")


def test_a_long_paragraph_is_shown_to_its_end() -> None:
    assert "".join(drawn("x" * 3_000)).count("x") == 3_000
    rows = drawn("x" * 9_000)
    assert "".join(rows).count("x") + 5_001 == 9_000
    assert "… 5001 more characters" in rows


async def test_a_home_may_lie_deeper_than_a_sockets_path_may_be_long(tmp_path: Path) -> None:
    home = tmp_path / ("a" * 60) / ("ü b" * 30)
    home.mkdir(parents=True)
    listening = Listening(home)
    met = asyncio.Event()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        met.set()

    await listening.start(accept, "")
    try:
        channel = await asyncio.to_thread(client.connect, str(home))
        channel.close()
        await met.wait()
        with pytest.raises(Unavailable, match="another controller is using it"):
            await Listening(home).start(lambda *_: None, "")
    finally:
        listening.close()
    with pytest.raises(client.NotServed):
        client.connect(str(home))


def test_a_controller_goes_on_where_nobody_can_read_what_it_says() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed, contextlib.redirect_stdout(closed):
        _say("airboss serves")
        _say("Slack is off")


def test_a_control_socket_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    async def play() -> None:
        listening = Listening(tmp_path)
        await listening.start(lambda _, writer: writer.close(), "")
        try:
            listening.path.unlink()
            async with alongside(listening.keep(lambda: ""), "keep"):
                while not listening.path.exists():
                    await asyncio.sleep(0.1)
                (await asyncio.to_thread(client.connect, str(tmp_path))).close()
        finally:
            listening.close()

    with asyncio.Runner(loop_factory=lambda: PacedLoop(50)) as runner:
        runner.run(play())
