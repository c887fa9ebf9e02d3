"""Group commit: writes that wait together share one transaction and its fsync.

One thread writes. It runs the waiting writes in one transaction, adds those that arrive meanwhile, and commits
once. A savepoint protects each write, so that a failing one does not affect the others. The first in a transaction
needs no savepoint, since there is nothing to protect yet; so a single writer pays nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection, RootTransaction

from fleet.errors import StoreUnavailable
from fleet.faults import Point, fault
from fleet.store import databases
from fleet.store.statements import forget_changes, plain, settle

PATIENCE_SECONDS: Final = 0.02
"""How long a patient unit may wait to share a commit."""

_ATTEMPTED: Final = "write to the store"
_OPEN_SECONDS: Final = 0.02
"""A transaction older than this takes no more units: those in it wait for its commit."""

_MOST: Final = 256
"""The most already waiting units that go into one transaction, however long that takes."""


class Unit:
    """One queued write function. ``due``: monotonic seconds before which it need not start.

    ``error``: why none of it was written; ``None`` once it is committed. ``unsure``: its commit was asked for and
    not answered, so it may be written all the same.
    """

    __slots__ = ("due", "error", "unsure")

    def __init__(self, due: float) -> None:
        self.due = due
        self.error: BaseException | None = None
        self.unsure = False

    @property
    def fn(self) -> Callable[..., object]:
        """What it runs."""
        raise NotImplementedError

    def run(self, connection: Connection, now_us: int) -> None:
        """Does the work inside the transaction. An exception ends this unit only. ``now_us``: the database's time,
        0 where it was not read."""
        raise NotImplementedError


U = TypeVar("U", bound=Unit)


class WriterLock:
    """One writer at a time in this process. Raises ``RuntimeError`` when a thread would wait for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0

    def __enter__(self) -> None:
        if self._holder == threading.get_ident():
            raise RuntimeError("a write transaction is already open on this thread")
        self._lock.acquire()
        self._holder = threading.get_ident()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder = 0
        self._lock.release()


class GroupWriter(Generic[U]):
    """Writes units in the order in which they were put. Calls ``settled`` with them, on the writer's thread and in
    that order, once their commit is durable or it is certain that nothing of them was written."""

    def __init__(self, database: databases.Database, lock: WriterLock, settled: Callable[[list[U]], None]) -> None:
        self._database, self._lock, self._settled = database, lock, settled
        self._waiting: deque[U] = deque()
        self._changed = threading.Condition()
        self._due = 0.0  # the earliest of the waiting units
        self._closing = False
        self._thread: threading.Thread | None = None
        self._kept: Connection | None = None  # the thread's own: taking one from the pool costs a tenth of a write

    def put(self, unit: U) -> None:
        """Queues a unit, from any thread. Raises ``RuntimeError`` after :meth:`close`."""
        with self._changed:
            if self._closing:
                raise RuntimeError("the store is closed")
            first = not self._waiting
            self._waiting.append(unit)
            if first or unit.due < self._due:
                self._due = unit.due
                self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="store-write", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Writes what waits, and ends the thread. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _write(self) -> None:
        try:
            while (first := self._wait()) is not None:
                self._settled(self._commit(first))
        finally:
            self._give_back()

    def _wait(self) -> U | None:
        """The first unit of the next group, once a waiting unit is due; ``None`` when closed and empty."""
        with self._changed:
            while not self._waiting or not self._closing:
                if self._waiting:
                    pause = self._due - time.monotonic()
                    if pause <= 0:
                        break
                    self._changed.wait(pause)
                elif self._closing:
                    return None
                else:
                    self._changed.wait()
            self._due = 0.0  # units left over from a full group have waited enough
            return self._waiting.popleft()

    def _commit(self, first: U) -> list[U]:
        """Runs one transaction, and returns the units that it settled, in order."""
        units, opened, asked = [first], False, False
        try:
            with self._lock, self._database.translating_errors(_ATTEMPTED):
                with self._begun() as (connection, now_us):
                    opened = True
                    self._alone(first, connection, now_us)
                    # Adds the units that wait now, and those that arrive while the transaction is young.
                    most, until = 1 + min(len(self._waiting), _MOST), time.monotonic() + _OPEN_SECONDS
                    while self._waiting and (len(units) < most or time.monotonic() < until):
                        if len(units) == 1:
                            self._settle(first, connection)
                            if first.error is not None:
                                raise _Undone
                        units.append(self._waiting.popleft())
                        self._protected(units[-1], connection)
                    fault(Point.STORE_COMMIT, lambda: [unit.fn for unit in units])
                    asked = True
                fault(Point.STORE_ANSWER, lambda: [unit.fn for unit in units])
        except _Undone:
            pass
        except BaseException as error:  # the thread survives: the callers of these units get the error
            if not opened:  # the others would only wait for the same database, one after another
                while self._waiting:
                    units.append(self._waiting.popleft())
            for unit in units:
                if unit.error is None:
                    unit.error, unit.unsure = another(error), asked
        return units

    @contextmanager
    def _begun(self) -> Iterator[tuple[Connection, int]]:
        """A transaction on the kept connection, and the database's time, under the writer lock. A connection that
        died since its last use is replaced; after an error, the pool gives one anew."""
        try:
            try:
                begun, now_us = self._start()
            except Exception:
                if self._kept is None or not databases.is_dead(self._kept):
                    raise
                self._give_back()
                begun, now_us = self._start()
            with begun:
                yield begun.connection, now_us
        except BaseException:
            self._give_back()
            raise

    def _start(self) -> tuple[RootTransaction, int]:
        if self._kept is None:
            self._kept = self._database.writer.connect()
        begun = self._kept.begin()
        try:
            return begun, databases.take_writer_lock(self._kept)
        except BaseException:
            with suppress(Exception):  # of a dead connection; the first error says more
                begun.close()
            raise

    def _give_back(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            if databases.is_dead(kept):
                kept.invalidate()  # nothing is to be rolled back there
            kept.close()

    def _alone(self, unit: U, connection: Connection, now_us: int) -> None:
        """Runs the first unit of a transaction. If it fails, the transaction is undone."""
        self._run(unit, connection, now_us)
        if unit.error is not None:
            raise _Undone

    def _protected(self, unit: U, connection: Connection) -> None:
        """Runs a unit after others. If it fails, the others stay, unless its error ended the transaction."""
        plain(connection, "SAVEPOINT unit")
        self._run(unit, connection, 0)
        if unit.error is None:
            self._settle(unit, connection)
        if unit.error is not None:
            if databases.transaction_of(connection) is databases.Transaction.GONE:
                cause = f"an error in another write ended the transaction: {unit.error}"
                raise StoreUnavailable(attempted=_ATTEMPTED, on=self._database.name, cause=cause)
            forget_changes(connection)
            plain(connection, "ROLLBACK TO SAVEPOINT unit")
        plain(connection, "RELEASE SAVEPOINT unit")

    def _run(self, unit: U, connection: Connection, now_us: int) -> None:
        try:
            with self._database.translating_errors(_ATTEMPTED):
                unit.run(connection, now_us)
            if databases.transaction_of(connection) is not databases.Transaction.OPEN:
                raise RuntimeError("a write function continued after a database error")
        except BaseException as error:
            unit.error = error

    def _settle(self, unit: U, connection: Connection) -> None:
        """What the unit changed is at the server: an error in it is its own, whoever comes after it."""
        try:
            with self._database.translating_errors(_ATTEMPTED):
                settle(connection)
        except BaseException as error:
            unit.error = error


class _Undone(Exception):
    """Leaves a transaction in which nothing must be kept."""


def another(error: BaseException) -> BaseException:
    """A copy of the error for each caller: one raised in several places would collect all their tracebacks."""
    if not isinstance(error, StoreUnavailable):
        return error
    made = StoreUnavailable(attempted=error.attempted, on=error.on, hint=error.hint, cause=error.cause)
    made.__cause__ = error.__cause__
    return made
