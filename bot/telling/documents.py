"""The one writer of documents: texts that are too long for a message, as files that a card brings."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

from fleet.errors import DiskFull, Unavailable
from fleet.faults import Point, fault
from fleet.store.core import Beforehand


def kept(files: Path, name: str, text: str) -> str:
    """The path of a document with exactly this text, for a write function: no file is written in a transaction,
    so a document that is not there yet is written before it. Raises ``Beforehand`` then."""
    path = files / name
    if not _holds(path, text):
        raise Beforehand(partial(write, files, name, text))
    return str(path)


def write(files: Path, name: str, text: str) -> str:
    """Writes a document whole or not at all, and answers its path. Raises ``DiskFull`` or ``Unavailable``."""
    path, part = files / name, files / f".{name}.part"
    try:
        files.mkdir(mode=0o700, parents=True, exist_ok=True)
        fault(Point.FILE_WRITE)
        part.write_bytes(text.encode())
        part.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (DiskFull if full else Unavailable)(
            attempted="write a document",
            on=str(path),
            cause=os.strerror(error.errno or errno.EIO),
            hint="Free some space." if full else "Make the directory writable for the user that runs Airboss.",
        ) from error
    return str(path)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False
