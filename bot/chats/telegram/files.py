"""Files between Telegram and this controller's disk. A bot may fetch 20 MB and send 50 MB."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from telegram import Bot
from telegram.error import BadRequest, TelegramError

from bot.cards import Card, line
from bot.message import Attachment, Message
from fleet.errors import Refused, Unavailable
from fleet.file_names import fitting, started
from fleet.files import replace as replace_file
from fleet.files import writing
from fleet.untrusted import clean

FETCH_LIMIT: Final = 20 << 20
SEND_LIMIT: Final = 50 << 20
PHOTO_LIMIT: Final = 10 << 20


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A file that goes with a card."""

    name: str
    data: bytes
    photo: bool = False


def clean_name(name: str) -> str:
    """An untrusted file name, made safe for a shell, a path and a chat."""
    last = clean(name, len(name) + 1).replace("\\", "/").rsplit("/", 1)[-1]
    plain = re.sub(r"[^\w.-]+", "-", last)
    return fitting(started(plain, ".-").rstrip(".-"))


async def fetch(bot: Bot, home: Path, message: Message) -> Message:
    """The message with its files on disk, under ``home/files``. Raises ``Refused`` or ``Unavailable``."""
    directory = home / "files" / message.adapter / re.sub(r"\W", "-", message.update_id)
    return replace(message, files=tuple([await _fetched(bot, directory, file) for file in message.files]))


async def _fetched(bot: Bot, directory: Path, file: Attachment) -> Attachment:
    if not file.source:
        return file
    shown = clean_name(file.name)
    too_big = Refused(
        attempted="take your file",
        on=shown,
        cause="Telegram gives bots no file over 20 MB",
        hint="Send a smaller one, or put it where the agent can reach it.",
    )
    if file.size > FETCH_LIMIT:
        raise too_big
    try:
        data = bytes(await (await bot.get_file(file.source)).download_as_bytearray())
    except BadRequest as error:
        if "too big" in error.message.lower():
            raise too_big from None
        raise Refused(attempted="fetch your file", on=shown, cause=error.message, hint="Send it again.") from None
    except TelegramError as error:
        raise Unavailable(
            attempted="fetch your file", on=shown, cause=error.message, hint="Send it again in a moment."
        ) from None
    path = directory / f"{sha256(file.source.encode()).hexdigest()[:8]}-{shown}"  # an album may have a name twice
    with writing("keep your file", Path(shown)):
        await asyncio.to_thread(_write, path, data)
    return Attachment(file.name, str(path), file.media_type, len(data))


def _write(path: Path, data: bytes) -> None:
    for parent in (path.parent.parent.parent, path.parent.parent, path.parent):
        parent.mkdir(mode=0o700, exist_ok=True)
    replace_file(path, data)


async def enclosed(card: Card) -> tuple[Card, list[Enclosure]]:
    """The card, with a line about each of its files that cannot be sent, and the files that can."""
    found: list[Enclosure] = []
    for path, photo in ((card.picture, True), (card.document, False)):
        if not path:
            continue
        data = await asyncio.to_thread(_read, Path(path))
        if isinstance(data, str):
            card = replace(card, lines=(*card.lines, line(data)))
        else:
            found.append(Enclosure(clean_name(path), data, photo and len(data) <= PHOTO_LIMIT))
    return card, found


def _read(path: Path) -> bytes | str:
    try:
        size = path.stat().st_size
        if size > SEND_LIMIT:
            return f"Too large for Telegram ({size >> 20} MB), on the controller: {path}"
        return path.read_bytes()
    except OSError as error:
        return f"The file {path.name} cannot be read: {error.strerror}"
