"""A connection of its own that hears what PostgreSQL is told with NOTIFY."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fleet.errors import StoreUnavailable
from fleet.store.databases import Database

CHANNEL: Final = "airboss"


class NoticeConnection:
    """Used on one thread. Raises ``StoreUnavailable``: make another one."""

    def __init__(self, database: Database) -> None:
        self._name = database.name
        with database.translating_errors("listen to other controllers"):
            self._connection = database.reader.raw_connection()
        driver: Any = self._connection.driver_connection
        self._driver = driver
        with self._translating():
            self._driver.autocommit = True
            self._driver.execute(f"LISTEN {CHANNEL}")

    def wait(self, seconds: float) -> list[str]:
        """What was told, as soon as something is; nothing after so many seconds."""
        with self._translating():
            return [notice.payload for notice in self._driver.notifies(timeout=seconds, stop_after=1)]

    def close(self) -> None:
        """Listens no more."""
        self._connection.invalidate()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        from psycopg import Error

        try:
            yield
        except Error as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StoreUnavailable(
                attempted="listen to other controllers",
                on=self._name,
                cause=said,
                hint="Check that PostgreSQL runs",
            ) from error
