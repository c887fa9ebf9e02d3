"""Files that people sent, put where other controllers get them: the one that leads the task may be another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from bot.message import Message
from fleet import shared_files
from fleet.store.core import Store
from fleet.store.states import BlobKind


async def fetched(store: Store, fetch: Callable[[Message], Awaitable[Message]], message: Message) -> Message:
    """The message with its files on disk and, where there may be other controllers, in the store. A voice message
    is only transcribed, here. Raises as ``fetch``, and ``Unavailable``."""
    made = await fetch(message)
    if made.text or not made.spoken:
        for file in made.files:
            await keep(store, file.path)
    return made


async def keep(store: Store, path: str) -> None:
    """Puts one file where others get it by its path."""
    await shared_files.keep(store, Path(path), BlobKind.CHAT_FILE, name=path, owner="")
