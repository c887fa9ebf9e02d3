"""The store: one database, one writer at a time, and the transaction that every store function takes.

SQLite by default, PostgreSQL by URL; the modules beside this file work on both. A write transaction excludes every
other writer, in this process and in others, from its first statement: what it reads is still true when it commits.
Writes that wait together share a commit (``group.py``). Reads see a snapshot and never wait for a writer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import BigInteger, Connection, literal_column, select

from fleet.faults import Point, fault
from fleet.store import databases
from fleet.store.group import PATIENCE_SECONDS, GroupWriter, Unit, WriterLock
from fleet.store.listening import NoticeConnection
from fleet.store.readers import Readers
from fleet.store.statements import Statement, forget_changes, plain, settle
from fleet.store.told import OnTheirLoops

if TYPE_CHECKING:
    from fleet.events import Recorded

T = TypeVar("T")
K = TypeVar("K")
Observer = Callable[["Tx", "Recorded"], None]
Hearer = Callable[["Recorded"], None]

_log = logging.getLogger(__name__)

_READERS: Final = 3
_ROUNDS: Final = 100
"""How often one write may ask for something :class:`Beforehand`; more would be a loop."""

_POSTGRESQL_NOW = Statement(
    select(literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", BigInteger))
)


class Tx:
    """One transaction. Used on one thread, from begin to commit or rollback, and not kept afterwards."""

    __slots__ = ("_after", "_now_us", "_seen", "connection", "store")

    def __init__(self, store: Store, connection: Connection, now_us: int = 0) -> None:
        self.store = store
        self.connection = connection
        self._now_us = now_us
        self._after: list[Callable[[], object]] = []
        self._seen: set[str] = set()

    def now_us(self) -> int:
        """The store's clock, in microseconds since the epoch; read once per transaction, on the first call or with
        the transaction's start.

        No other writer can come between that reading and the commit, so one reading is enough for leases too.
        """
        if not self._now_us:
            if self.connection.dialect.name == "postgresql":
                self._now_us = int(_POSTGRESQL_NOW.one(self.connection, {})[0])
            else:
                # A file on this machine: SQLite's own clock is this machine's too, at the cost of a statement.
                self._now_us = time.time_ns() // 1_000
        return self._now_us

    def look_again(self) -> None:
        """The time is read anew. A process may have been frozen since the transaction began, and what it was asked
        for after that must not see leases that are over since."""
        self._now_us = 0

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Calls ``callback`` once this transaction is durable, and never if it is rolled back.

        After ``Store.write`` it runs on the caller's event loop (so it may set an ``asyncio.Event``), before the
        caller continues; after ``Store.transaction`` on the calling thread. Callbacks run in the order of their
        writes, and those of one write run together.
        """
        self._after.append(callback)

    def first(self, what: str) -> bool:
        """Whether this transaction is asked for the first time about ``what``: for what it says only once."""
        if what in self._seen:
            return False
        self._seen.add(what)
        return True

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of the transaction: when the block raises, only its own writes and callbacks are undone.

        Raises ``StoreUnavailable`` when the database fails, which ends the whole transaction.
        """
        before = len(self._after)
        with self.store.translating_errors("write to the store"):
            plain(self.connection, "SAVEPOINT part")
            try:
                yield
                settle(self.connection)
            except BaseException:
                del self._after[before:]
                forget_changes(self.connection)
                if databases.transaction_of(self.connection) is not databases.Transaction.GONE:
                    plain(self.connection, "ROLLBACK TO SAVEPOINT part")
                    plain(self.connection, "RELEASE SAVEPOINT part")
                raise
            plain(self.connection, "RELEASE SAVEPOINT part")

    def _committed(self) -> None:
        for callback in self._after:
            try:
                callback()
            except Exception:
                _log.exception("a callback after a commit failed; the commit stands")


class Precondition(Protocol):
    """A condition for a write, for example a lease's fence. It is checked in the write's own transaction."""

    def check(self, tx: Tx) -> None:
        """Raises when it no longer holds; then nothing is written."""


class Beforehand(BaseException):
    """Raised by a write function that first needs work done outside any transaction, such as writing a file:
    :meth:`Store.write` undoes the function, runs the work on a thread, and runs the function again. What the work
    returns is awaited, if it can be.

    Not an ``Exception``: nothing between the function and the store may catch it as an error.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__("this write needs something done before its transaction")
        self.work = work


class _Write(Unit, Generic[T]):
    """A function given to :meth:`Store.write`, and its waiting caller."""

    __slots__ = ("_fn", "_result", "_tx", "_under", "done", "loop", "store")

    def __init__(self, store: Store, fn: Callable[[Tx], T], under: tuple[Precondition, ...], due: float) -> None:
        super().__init__(due)
        self.store, self._fn, self._under = store, fn, under
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self.loop.create_future()

    @property
    def fn(self) -> Callable[[Tx], T]:
        return self._fn

    def run(self, connection: Connection, now_us: int) -> None:
        self._tx = tx = Tx(self.store, connection, now_us)
        for precondition in self._under:
            precondition.check(tx)
        self._result = self._fn(tx)

    def notify(self) -> None:
        """On the caller's loop: runs the callbacks of what is committed, then wakes the caller."""
        if self.error is None:
            self._tx._committed()
        if self.done.done():
            return  # the caller was cancelled
        if self.error is None:
            self.done.set_result(self._result)
        elif isinstance(self.error, StopIteration):  # a future does not accept it
            self.done.set_exception(RuntimeError("a write function raised StopIteration"))
        else:
            self.done.set_exception(self.error)


def _never() -> bool:
    return False


class _Shared:
    """What all views of one store share."""

    def __init__(self, database: databases.Database, instance: str, redact: Callable[[str], str] | None) -> None:
        self.database, self.instance, self.redact = database, instance, redact
        self.observers: tuple[Observer, ...] = ()
        self.seals: Callable[[], bool] = _never
        self.kept: dict[type, Any] = {}
        self.hearers: tuple[Hearer, ...] = ()
        self.lookers: tuple[Callable[[], object], ...] = ()
        self.shared_as = ""
        self.lock = WriterLock()
        self.writer: GroupWriter[_Write[Any]] = GroupWriter(database, self.lock, OnTheirLoops(_notify).put)
        self.readers = Readers(database)
        self.reads = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self.reports = ThreadPoolExecutor(1, thread_name_prefix="store-report")


class Store:
    """Our database. Made by :meth:`open`; shared by all tasks of one event loop.

    :meth:`under` makes a view: the same store, whose writes happen only while a precondition holds.
    """

    def __init__(self, shared: _Shared, under: tuple[Precondition, ...] = ()) -> None:
        self._shared, self._under = shared, under
        self.instance = shared.instance
        self.redact = shared.redact

    @classmethod
    def open(cls, url: str, *, create: bool = True, redact: Callable[[str], str] | None = None) -> Store:
        """Opens the store at an SQLAlchemy URL and upgrades its schema to this version.

        ``sqlite:////absolute/path`` or ``postgresql+psycopg://…``. ``create`` creates a missing SQLite file (mode
        0600), and is for who knows that no controller has the file. ``redact`` is applied to every string of an
        event's body before it enters the ledger. Raises ``Misused`` for a wrong URL, a missing store, or one
        written by a newer version; ``StoreUnavailable`` for a database that cannot be reached, read or written, or
        that a controller of an earlier version uses.
        """
        database = databases.connect(url, create=create)
        try:
            instance = databases.prepare(database, alone=create)
        except BaseException:
            database.dispose()
            raise
        return cls(_Shared(database, instance, redact))

    @property
    def url(self) -> str:
        """The store's address, without password."""
        return self._shared.database.name

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The observers, called for each event in the appending transaction."""
        return self._shared.observers

    def kept(self, kind: type[K]) -> K:
        """What this process keeps in memory of the store, one object of each kind. For write transactions only, one
        of which runs at a time; what is kept must know by itself when a transaction was rolled back."""
        found: K | None = self._shared.kept.get(kind)
        if found is None:
            found = self._shared.kept[kind] = kind()
        return found

    @property
    def seals(self) -> bool:
        """Whether the ledger gets hashes of what is said, and the texts are kept beside it."""
        return self._shared.seals()

    def seal_contents(self, when: Callable[[], bool]) -> None:
        """From now on, ``when`` says whether it does. A new store's ledger has the texts."""
        self._shared.seals = when

    def translating_errors(self, attempted: str) -> AbstractContextManager[None]:
        """Turns the database's own errors into ``StoreUnavailable``; others pass unchanged."""
        return self._shared.database.translating_errors(attempted)

    def observe(self, observer: Observer) -> None:
        """Calls ``observer(tx, recorded)`` for every event from now on, in the appending transaction."""
        self._shared.observers = (*self._shared.observers, observer)

    @property
    def hearers(self) -> tuple[Hearer, ...]:
        """Who hears of events that other controllers append."""
        return self._shared.hearers

    def hear(self, hearer: Hearer) -> None:
        """Calls ``hearer(recorded)`` on the event loop for events that another controller of this store appended:
        of the kinds that are heard, each at least once, after its commit. An event of this one may come too."""
        self._shared.hearers = (*self._shared.hearers, hearer)

    def when_unsure(self, look: Callable[[], object]) -> None:
        """Calls ``look`` on the event loop after each commit whose answer was lost: it may be in the store, and no
        callback said so. Whoever waits for an :meth:`Tx.after_commit` without a limit looks at the store then."""
        self._shared.lookers = (*self._shared.lookers, look)

    def look_around(self) -> None:
        """Calls who asked for it with :meth:`when_unsure`."""
        for look in self._shared.lookers:
            look()

    @property
    def shared_as(self) -> str:
        """How this controller is called where others share its store; empty: nobody else leads anything here."""
        return self._shared.shared_as

    def share(self, instance: str) -> None:
        """From now on others may lead tasks of this store."""
        self._shared.shared_as = instance

    @property
    def can_be_shared(self) -> bool:
        """Whether several controllers can use this store at once."""
        return self._shared.database.writer.dialect.name == "postgresql"

    def listening(self) -> NoticeConnection:
        """What hears the notices of other controllers. Raises ``StoreUnavailable``."""
        return NoticeConnection(self._shared.database)

    def under(self, *preconditions: Precondition) -> Store:
        """The same store, for writes that also depend on these. Reads are not affected.

        A controller gives its parts such a view, so that none of their writes can forget the leadership.
        """
        return Store(self._shared, (*self._under, *preconditions))

    async def write(self, fn: Callable[[Tx], T], *, under: Sequence[Precondition] = (), patient: bool = False) -> T:
        """Runs ``fn`` in a write transaction on the store's own thread; commits unless ``fn`` raises.

        ``fn`` shares the commit with other waiting writes but nothing else: if it raises, only its own work is
        undone. ``under``: what must still hold, checked in the same transaction. ``patient``: it may wait up to 20
        ms to share a commit.

        Cancelling the caller does not undo it. Raises what ``fn`` or a precondition raises, and
        ``StoreUnavailable`` when nothing was written or, if the connection was lost during the commit, when the
        result is unknown: start again from what the store says.
        """
        for _ in range(_ROUNDS):
            due = time.monotonic() + PATIENCE_SECONDS if patient else 0.0
            write = _Write(self, fn, (*self._under, *under), due)
            self._shared.writer.put(write)
            try:
                return await write.done
            except Beforehand as needed:
                done = await asyncio.to_thread(needed.work)
                if isawaitable(done):
                    await done
        raise RuntimeError(f"a write function asked for something beforehand {_ROUNDS} times")

    async def read(self, fn: Callable[[Tx], T], *, long: bool = False) -> T:
        """Runs ``fn`` on one snapshot, off the event loop. The database refuses writes in it.

        ``long``: it may read a lot. Long reads take turns among themselves, so that short ones never wait for them.
        """
        threads = self._shared.reports if long else self._shared.reads
        return await asyncio.get_running_loop().run_in_executor(threads, self._snapshot, fn)

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """A write transaction on the calling thread, for code without an event loop.

        Raises ``RuntimeError`` inside another write transaction of the same thread, which would deadlock.
        """
        database = self._shared.database
        with (
            self._shared.lock,
            database.translating_errors("write to the store"),
            database.writer.begin() as connection,
        ):
            tx = Tx(self, connection, databases.take_writer_lock(connection))
            for precondition in self._under:
                precondition.check(tx)
            yield tx
            fault(Point.STORE_COMMIT)
        tx._committed()

    def close(self) -> None:
        """Waits for running work, and closes the database. Safe to call twice."""
        self._shared.writer.close()
        self._shared.reads.shutdown()
        self._shared.reports.shutdown()
        self._shared.readers.close()
        self._shared.database.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _snapshot(self, fn: Callable[[Tx], T]) -> T:
        database = self._shared.database
        with (
            database.translating_errors("read the store", reading=True),
            self._shared.readers.snapshot() as connection,
        ):
            fault(Point.STORE_READ, lambda: (fn,))
            return fn(Tx(self, connection))


def _notify(writes: list[_Write[Any]]) -> None:
    for write in writes:
        write.notify()
    if unsure := [write for write in writes if write.unsure]:
        unsure[0].store.look_around()
