"""Brings a person's files to the agent: from the controller's disk to the machine, beside the worktree.

Files are stored under the login's ``inbox/``, outside the worktree, so that they never become part of a change.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import shared_files
from fleet.errors import Misused, Unreachable
from fleet.file_names import fitting, started
from fleet.model import Session
from fleet.ports import Executor, Image
from fleet.store.chat import attachments as attachment_rows
from fleet.store.chat.attachments import Kept
from fleet.store.core import Store

IMAGE_LIMIT: Final = 3_500_000
"""The largest picture, in bytes, that a model is shown; a larger one is only given as a file."""

IMAGES: Final = 4

_PICTURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SentFiles:
    """Files as the agent finds them: absolute paths on its machine, and which of them are pictures."""

    paths: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()


def inbox_of(store: Store, session: Session) -> str:
    """The session's directory for files, relative to the login's root."""
    return f"inbox/{session.outside(store.instance)}"


def safe_name(name: str) -> str:
    """A sender's file name as one path component that is safe in shells and terminals."""
    plain = _UNSAFE.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1])
    return fitting(started(plain, ".-_"), 80)


def picture_type(data: bytes) -> str:
    """The media type of a picture that models accept, by its first bytes; empty for anything else.

    The declared type is not enough: a vendor refuses the whole request when a picture is not of its declared type,
    and every later request of that conversation too.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _PICTURES if data.startswith(magic)), "")


async def of_request(store: Store, executor: Executor, session: Session) -> SentFiles:
    """Sends the files of the task's request. Raises ``Misused`` when a file is missing."""
    kept = await store.read(lambda tx: attachment_rows.of_note(tx, session.task, attachment_rows.REQUEST))
    return await _send(store, executor, session, kept)


async def of_notes(store: Store, executor: Executor, session: Session) -> tuple[int, dict[int, tuple[str, ...]]]:
    """Sends the files of every waiting note. Returns the newest of these notes, and paths by note.

    While the machine is unreachable, no note may be taken: it then returns 0.
    """
    try:
        return await _of_notes(store, executor, session)
    except Unreachable:
        return 0, {}


async def _of_notes(store: Store, executor: Executor, session: Session) -> tuple[int, dict[int, tuple[str, ...]]]:
    newest, kept = await store.read(lambda tx: attachment_rows.waiting(tx, session.id, session.task))
    by_note: dict[int, tuple[str, ...]] = {}
    for number in dict.fromkeys(file.note for file in kept):
        mine = [file for file in kept if file.note == number]
        try:
            by_note[number] = (await _send(store, executor, session, mine)).paths
        except Misused as error:
            by_note[number] = (f"{safe_name(error.on)} (lost before it was sent)",)
    return newest, by_note


async def _send(store: Store, executor: Executor, session: Session, kept: Iterable[Kept]) -> SentFiles:
    paths: list[str] = []
    images: list[Image] = []
    for file in kept:
        data = await _bytes_of(store, file)
        path = f"{inbox_of(store, session)}/{file.id}-{safe_name(file.name)}"
        await executor.write_file(path, data)
        paths.append(f"{executor.root}/{path}")
        kind = picture_type(data)
        if kind and len(data) <= IMAGE_LIMIT and len(images) < IMAGES:
            images.append(Image(kind, data, paths[-1]))
    return SentFiles(tuple(paths), tuple(images))


async def _bytes_of(store: Store, kept: Kept) -> bytes:
    """From the disk here, or out of the store. Raises ``Misused`` when they are in neither."""
    try:
        return await asyncio.to_thread(Path(kept.path).read_bytes)
    except OSError as error:
        if store.can_be_shared and (shared := await shared_files.read(store, kept.path)) is not None:
            return shared
        raise Misused(
            attempted="send a file to the agent",
            on=kept.name,
            cause=error.strerror or str(error),
            hint="Send it again with your message.",
        ) from error
