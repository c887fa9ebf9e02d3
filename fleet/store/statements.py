"""Statements that run many times a second. On SQLite they go to the driver itself: SQLAlchemy's own part costs ten
times what the database does. Elsewhere they run as usual, since a round trip to the server costs more than both."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Delete, Insert, Select, TextClause, Update
from sqlalchemy.sql.compiler import SQLCompiler

Values = Mapping[str, Any]

_SQLITE: Final = "sqlite"


class Statement:
    """One statement without an expanding ``IN``. Every run gives the same names of values; raises ``ValueError``
    otherwise, since the SQL is written once.

    A row has its columns as attributes. ``statement`` is what it is made of.
    """

    __slots__ = ("_make", "_names", "_order", "_sql", "_usual", "statement")

    def __init__(self, statement: Select[Any] | Insert | Update | Delete | TextClause) -> None:
        self.statement = statement
        self._sql = ""
        self._names: frozenset[str] = frozenset()
        self._order: tuple[str, ...] = ()
        self._usual: Values = {}
        self._make: Callable[[Sequence[Any]], Any] = tuple

    def one(self, connection: Connection, values: Values) -> Any:
        """The only row, ``None`` when there is none."""
        rows = self.all(connection, values)
        if len(rows) > 1:
            raise ValueError("more than one row")
        return rows[0] if rows else None

    def all(self, connection: Connection, values: Values) -> list[Any]:
        """The rows."""
        if connection.dialect.name != _SQLITE:
            return list(connection.execute(self.statement, values))
        found = self._driven(connection, values)
        return [self._make(row) for row in found]

    def run(self, connection: Connection, values: Values) -> int:
        """Changes rows; returns how many."""
        if connection.dialect.name != _SQLITE:
            return connection.execute(self.statement, values).rowcount
        count: int = self._driven(connection, values).rowcount
        return count

    def many(self, connection: Connection, rows: Sequence[Values]) -> None:
        """The same for each of these; nothing where there are none."""
        if not rows:
            return
        if connection.dialect.name != _SQLITE:
            connection.execute(self.statement, rows)
            return
        driver(connection).executemany(*self._prepared(connection, rows))

    def many_rows(self, connection: Connection, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """The same, with the values of each run in the order of ``names``, which are all that it needs."""
        if connection.dialect.name != _SQLITE:
            if rows:
                connection.execute(self.statement, [dict(zip(names, row, strict=True)) for row in rows])
            return
        if rows:
            if not self._sql:
                self._compile(connection, dict.fromkeys(names))
            if self._order != tuple(names):
                raise ValueError(f"this statement takes {self._order}, not {tuple(names)}")
            driver(connection).executemany(self._sql, rows)

    def _driven(self, connection: Connection, values: Values) -> Any:
        sql, (bound,) = self._prepared(connection, (values,))
        return driver(connection).execute(sql, bound)

    def _prepared(self, connection: Connection, rows: Sequence[Values]) -> tuple[str, list[list[Any]]]:
        """The SQL, and the values of each run in its order."""
        if not self._sql:
            self._compile(connection, rows[0])
        names, order, usual = self._names, self._order, self._usual
        for values in rows:
            if values.keys() != names:
                raise ValueError(f"this statement is run with {sorted(names)}, not with {sorted(values)}")
        if not usual:
            return self._sql, [[values[name] for name in order] for values in rows]
        return self._sql, [[values[name] if name in values else usual[name] for name in order] for values in rows]

    def _compile(self, connection: Connection, values: Values) -> None:
        self._names = frozenset(values)
        compiled = self.statement.compile(dialect=connection.dialect, column_keys=list(values))
        assert isinstance(compiled, SQLCompiler)
        self._order, self._usual = tuple(compiled.positiontup or ()), dict(compiled.params)
        found = () if isinstance(self.statement, TextClause) else self.statement.exported_columns
        columns = [str(column.key) for column in found]
        if columns:
            self._make = getattr(namedtuple("Row", columns, rename=True), "_make")  # noqa: B009 - made here, so mypy has no name for it
        self._sql = str(compiled)


def plain(connection: Connection, sql: str) -> None:
    """Runs a statement without values."""
    if connection.dialect.name == _SQLITE:
        driver(connection).execute(sql)
    else:
        connection.exec_driver_sql(sql)


def driver(connection: Connection) -> Any:
    """The driver's own connection, in the transaction that is open."""
    return connection.connection.dbapi_connection
