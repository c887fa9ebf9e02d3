"""The one writer of documents: texts that are too long for a message, as files that a card attaches."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fleet import files
from fleet.store.core import Beforehand


def kept(folder: Path, name: str, text: str) -> str:
    """The path of a document with exactly this text, for a write function: no file is written in a transaction,
    so a document that is not there yet is written before it. Raises ``Beforehand`` then."""
    path = folder / name
    if not _holds(path, text):
        raise Beforehand(partial(write, folder, name, text))
    return str(path)


def write(folder: Path, name: str, text: str) -> str:
    """Writes a document whole or not at all, and returns its path. Raises ``DiskFull`` or ``Unavailable``."""
    path = folder / name
    hint = "Make the directory writable for the user that runs Airboss."
    with files.writing("write a document", path, hint=hint):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(path, text.encode())
    return str(path)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False
