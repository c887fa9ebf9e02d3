"""Group commit: write functions that wait together share one transaction and its fsync.

One thread writes. It runs what waits in one transaction, lets in what arrives meanwhile, and commits once. Each
function is protected by a savepoint, so that one that fails takes nothing of its neighbours' with it; the first in
a transaction needs none, since there is nothing yet to protect. That is why a lone writer pays nothing for this.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection

from fleet.errors import StoreUnavailable
from fleet.faults import Point, fault
from fleet.store import databases

PATIENCE_SECONDS: Final = 0.02
"""How long a patient unit may wait for others to share a commit with."""

_ATTEMPTED: Final = "write to the store"
_OPEN_SECONDS: Final = 0.02
"""From this age on a transaction lets no newcomer in: those inside it wait for its commit."""

_MOST: Final = 256
"""How many of those that wait already go into one transaction, however long that takes."""


class Unit:
    """One write function on its way. ``due``: monotonic seconds before which it need not start.

    ``error``: why nothing of it is in the store; ``None`` once it is committed.
    """

    __slots__ = ("due", "error")

    def __init__(self, due: float) -> None:
        self.due = due
        self.error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        """Does the work inside the transaction. What it raises ends this unit alone."""
        raise NotImplementedError


U = TypeVar("U", bound=Unit)


class WriterLock:
    """One writer at a time in this process. Raises ``RuntimeError`` where its own thread would wait for itself."""

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
    """Writes units in the order in which they were put. ``settled`` hears of them, on the writer's thread, in that
    order: once their commit is durable, or once it is certain that nothing of them was written."""

    def __init__(self, database: databases.Database, lock: WriterLock, settled: Callable[[list[U]], None]) -> None:
        self._database, self._lock, self._settled = database, lock, settled
        self._waiting: deque[U] = deque()
        self._changed = threading.Condition()
        self._due = 0.0  # the earliest of those that wait
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, unit: U) -> None:
        """Takes a unit from any thread. Raises ``RuntimeError`` after :meth:`close`."""
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
        while (first := self._wait()) is not None:
            self._settled(self._commit(first))

    def _wait(self) -> U | None:
        """The first of the next group, once one that waits is due; ``None`` when closed and nothing waits."""
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
            self._due = 0.0  # what a full group leaves behind has waited enough
            return self._waiting.popleft()

    def _commit(self, first: U) -> list[U]:
        """Runs one transaction, and answers the units that it settled, in their order."""
        units, opened = [first], False
        try:
            with (
                self._lock,
                self._database.speaking(_ATTEMPTED),
                self._database.writer.begin() as connection,
            ):
                databases.take_writer_lock(connection)
                opened = True
                self._alone(first, connection)
                # Whoever waits by now goes along; whoever comes later, for as long as the door is open.
                most, until = 1 + min(len(self._waiting), _MOST), time.monotonic() + _OPEN_SECONDS
                while self._waiting and (len(units) < most or time.monotonic() < until):
                    units.append(self._waiting.popleft())
                    self._protected(units[-1], connection)
                fault(Point.STORE_COMMIT)
        except _Undone:
            pass
        except BaseException as error:  # the thread outlives it: whoever waits for these units hears of it
            if not opened:  # they would only wait for the same database, one after the other
                while self._waiting:
                    units.append(self._waiting.popleft())
            for unit in units:
                if unit.error is None:
                    unit.error = _another(error)
        return units

    def _alone(self, unit: U, connection: Connection) -> None:
        """Runs the first unit of a transaction. If it fails, the transaction is undone."""
        self._run(unit, connection)
        if unit.error is not None:
            raise _Undone

    def _protected(self, unit: U, connection: Connection) -> None:
        """Runs a unit beside others. If it fails, they stay; unless its error ended the transaction."""
        connection.exec_driver_sql("SAVEPOINT unit")
        self._run(unit, connection)
        if unit.error is not None:
            if databases.transaction_of(connection) is databases.Transaction.GONE:
                cause = f"an error in another write ended the transaction: {unit.error}"
                raise StoreUnavailable(attempted=_ATTEMPTED, on=self._database.name, cause=cause)
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT unit")
        connection.exec_driver_sql("RELEASE SAVEPOINT unit")

    def _run(self, unit: U, connection: Connection) -> None:
        try:
            with self._database.speaking(_ATTEMPTED):
                unit.run(connection)
            if databases.transaction_of(connection) is not databases.Transaction.OPEN:
                raise RuntimeError("a write function went on after an error of the database")
        except BaseException as error:
            unit.error = error


class _Undone(Exception):
    """Leaves a transaction in which nothing is to be kept."""


def _another(error: BaseException) -> BaseException:
    """An error for each who waits: one that is raised in several places collects all their tracebacks."""
    if not isinstance(error, StoreUnavailable):
        return error
    made = StoreUnavailable(attempted=error.attempted, on=error.on, hint=error.hint, cause=error.cause)
    made.__cause__ = error.__cause__
    return made
