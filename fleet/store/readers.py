"""The connections that read. On SQLite each thread keeps one: the pool's part costs as much as a short read.

PostgreSQL's come from the pool, which looks whether the server has ended them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from fleet.store.databases import Database


class Readers:
    """Snapshots of one database, on any thread. After an error a thread takes another connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._of_thread = threading.local()
        self._kept: set[Connection] = set()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that reads, and ends with the block."""
        if self._database.reader.dialect.name != "sqlite":
            with self._database.reader.begin() as connection:
                yield connection
            return
        kept: Connection | None = getattr(self._of_thread, "connection", None)
        if kept is None:
            kept = self._of_thread.connection = self._database.reader.connect()
            self._kept.add(kept)
        try:
            with kept.begin():
                yield kept
        except BaseException:
            del self._of_thread.connection
            self._kept.discard(kept)
            kept.close()
            raise

    def close(self) -> None:
        """Closes what the threads kept. None of them reads any more."""
        while self._kept:
            self._kept.pop().close()
