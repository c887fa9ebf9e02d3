"""A chat core with its control socket, and the lines that a client sends there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.chats.console.adapter import ConsoleAdapter
from bot.local import client
from bot.local.control import ControlServer
from tests.chat_house import FLEET, House, house


@asynccontextmanager
async def served(
    directory: Path, people: str = "", patience: float = 30
) -> AsyncIterator[tuple[House, ControlServer]]:
    """``people``: further entries of fleet.toml."""
    console = ConsoleAdapter()
    async with house(directory, more=(console,), patience=patience, fleet_toml=FLEET + people) as there:
        server = ControlServer(directory, there.core, console, there.notifier, there.deliverer)
        await server.start()
        try:
            yield there, server
        finally:
            await server.close()


async def exchange(directory: Path, *lines: bytes) -> list[dict[str, object]]:
    """Sends raw lines, and reads answers until the last one's end."""
    reader, writer = await asyncio.open_unix_connection(str(directory / client.SOCKET), limit=8 << 20)
    writer.writelines(lines)
    await writer.drain()
    answers: list[dict[str, object]] = []
    while line := await reader.readline():
        answers.append(json.loads(line))
        if sum("end" in one for one in answers) == len(lines):
            break
    writer.close()
    return answers


def request(**fields: object) -> bytes:
    return json.dumps({"v": 1, **fields}).encode() + b"\n"
