"""The store: one database behind one writer at a time, and the transaction that every store function takes.

SQLite by default, PostgreSQL by its URL; the rooms beside this file are written once for both. A write
transaction excludes every other writer, in this process and in others, from its first statement on: what it
reads is still true when it commits. Reads see a snapshot and never wait for a writer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import BigInteger, Connection, literal_column, select

from fleet.store import databases

if TYPE_CHECKING:
    from fleet.events import Recorded

T = TypeVar("T")
Observer = Callable[["Tx", "Recorded"], None]

_log = logging.getLogger(__name__)

_POSTGRESQL_NOW = select(
    literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", BigInteger)
)


class Tx:
    """One transaction. Lives on one thread, from begin to commit or rollback, and is not kept afterwards."""

    __slots__ = ("_after", "_now_us", "connection", "store")

    def __init__(self, store: Store, connection: Connection) -> None:
        self.store = store
        self.connection = connection
        self._now_us = 0
        self._after: list[Callable[[], object]] = []

    def now_us(self) -> int:
        """The store's clock, microseconds since the epoch; one reading a transaction, taken on the first call.

        No other writer can come between that reading and the commit, so one reading is enough for a lease too.
        """
        if not self._now_us:
            if self.connection.dialect.name == "postgresql":
                self._now_us = self.connection.execute(_POSTGRESQL_NOW).scalar_one()
            else:
                # A file of this machine: SQLite's own clock is this machine's too, at the price of a statement.
                self._now_us = time.time_ns() // 1_000
        return self._now_us

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Calls ``callback`` once this transaction is durable, and never if it is rolled back.

        After ``Store.write`` it runs on the caller's event loop (so it may set an ``asyncio.Event``), before the
        awaiting caller goes on; after ``Store.transaction`` on the calling thread. Those of one transaction are
        called in their order, with nothing of the loop in between.
        """
        self._after.append(callback)

    def _committed(self) -> None:
        for callback in self._after:
            try:
                callback()
            except Exception:
                _log.exception("a callback after a commit failed; the commit stands")


class Store:
    """A database of ours. Made by :meth:`open`; shared by all tasks of one event loop."""

    def __init__(self, database: databases.Database, instance: str, redact: Callable[[str], str] | None) -> None:
        self.instance = instance
        self.redact = redact
        self.observers: tuple[Observer, ...] = ()
        self._guards: tuple[Callable[[Tx], None], ...] = ()
        self._database = database
        self._write_lock = threading.Lock()
        self._writer_thread = 0
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="store-read")

    @classmethod
    def open(cls, url: str, *, create: bool = True, redact: Callable[[str], str] | None = None) -> Store:
        """Opens the store at an SQLAlchemy URL and brings its schema up to this version.

        ``sqlite:////absolute/path`` or ``postgresql+psycopg://…``. ``create`` makes a missing SQLite file (mode
        0600). ``redact`` is applied to every string of an event's body before it enters the ledger.
        Raises ``Misused`` for a wrong URL, a missing store, or one that a newer version wrote;
        ``StoreUnavailable`` for a database that cannot be reached, read or written.
        """
        database = databases.connect(url, create=create)
        try:
            instance = databases.prepare(database)
        except BaseException:
            database.dispose()
            raise
        return cls(database, instance, redact)

    @property
    def url(self) -> str:
        """Where the store is, without a password."""
        return self._database.name

    def observe(self, observer: Observer) -> None:
        """From now on ``observer(tx, recorded)`` is called for every event, inside the appending transaction."""
        self.observers = (*self.observers, observer)

    def guard(self, check: Callable[[Tx], None]) -> None:
        """From now on every write transaction begins with ``check(tx)``, and is undone if that raises.

        A controller sets its leadership here once, so that no effect of it can forget to look.
        """
        self._guards = (*self._guards, check)

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Runs ``fn`` in a write transaction on the store's own thread; it commits unless ``fn`` raises.

        A caller that is cancelled meanwhile does not undo it. Raises what ``fn`` raises, or ``StoreUnavailable``.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writes, self._run, fn, loop.call_soon_threadsafe)

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Runs ``fn`` over one snapshot, off the event loop. Writing in it is refused by the database."""
        return await asyncio.get_running_loop().run_in_executor(self._reads, self._snapshot, fn)

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """A write transaction on the calling thread, for code without an event loop.

        Raises ``RuntimeError`` inside another write transaction of the same thread, which would never end.
        """
        with self._begin(lambda told: told()) as tx:
            yield tx

    def close(self) -> None:
        """Waits for what runs, and lets go of the database. Safe to call twice."""
        self._writes.shutdown()
        self._reads.shutdown()
        self._database.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, fn: Callable[[Tx], T], post: Callable[[Callable[[], None]], object]) -> T:
        with self._begin(post) as tx:
            return fn(tx)

    def _snapshot(self, fn: Callable[[Tx], T]) -> T:
        with self._database.speaking("read the store", reading=True), self._database.reader.begin() as connection:
            return fn(Tx(self, connection))

    @contextmanager
    def _begin(self, post: Callable[[Callable[[], None]], object]) -> Iterator[Tx]:
        if self._writer_thread == threading.get_ident():
            raise RuntimeError("a write transaction is already open on this thread")
        with self._write_lock:
            self._writer_thread = threading.get_ident()
            try:
                with self._database.speaking("write to the store"), self._database.writer.begin() as connection:
                    databases.take_writer_lock(connection)
                    tx = Tx(self, connection)
                    for check in self._guards:
                        check(tx)
                    yield tx
            finally:
                self._writer_thread = 0
            if tx._after:
                post(tx._committed)
