"""Copies a store that is one file, as it is at one moment, while others use it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from fleet import files


def copy_file(source: Path, copy: Path) -> None:
    """Makes ``copy``, which only we can read. Raises ``sqlite3.Error`` and ``OSError``."""
    files.replace(copy, b"")
    where = f"{source.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(where, uri=True)) as here, closing(sqlite3.connect(copy)) as there:
        here.backup(there)
        there.execute("PRAGMA journal_mode = DELETE")
