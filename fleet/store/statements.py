"""Statements that run many times a second. They go to the driver itself: SQLAlchemy's own part costs ten times what
SQLite does, and as much as a round trip to PostgreSQL.

PostgreSQL is asked seldom. What a write transaction surely reads is read with its begin, and what it changes goes
there with its next question or its commit: two round trips for a transaction that needs no other answer.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Delete,
    Dialect,
    Insert,
    Select,
    Table,
    Text,
    TextClause,
    Update,
    literal_column,
    text,
)
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Values = Mapping[str, Any]
Written = Select[Any] | CompoundSelect[Any] | Insert | Update | Delete | TextClause
_Convert = Callable[[Any], Any]

_SQLITE: Final = "sqlite"


@dataclass(frozen=True, slots=True)
class _Compiled:
    """For one database. ``order``: the names of the values as SQLite takes them, empty where they go by name;
    ``usual``: the values that the statement itself has; ``given``: what turns a value into the form of its column;
    ``make`` makes a row."""

    sql: str
    names: frozenset[str]
    order: tuple[str, ...]
    usual: Values
    given: Mapping[str, _Convert]
    make: Callable[[Sequence[Any]], Any]

    def bound(self, values: Values) -> Sequence[Any] | Values:
        """The values of a run as the driver takes them."""
        if values.keys() != self.names:
            raise ValueError(f"this statement is run with {sorted(self.names)}, not with {sorted(values)}")
        if self.given:
            values = {**values, **{name: convert(values[name]) for name, convert in self.given.items()}}
        if not self.order:
            return {**self.usual, **values}
        if not self.usual:
            return [values[name] for name in self.order]
        return [values[name] if name in values else self.usual[name] for name in self.order]


@dataclass(slots=True)
class _Far:
    """A write transaction on a server. ``changes`` are still to be sent; ``known`` was read with its begin, and is
    forgotten with its first change."""

    changes: list[tuple[str, Sequence[Any]]] = field(default_factory=list)
    known: dict[Statement, tuple[Values, list[Any]]] = field(default_factory=dict)


class Statement:
    """One statement without an expanding ``IN``. Every run gives the same names of values; raises ``ValueError``
    otherwise, since the SQL is written once.

    A row has its columns as attributes, in their Python form. ``statement`` is what it is made of.
    """

    __slots__ = ("_compiled", "statement")

    def __init__(self, statement: Written | str) -> None:
        self.statement = text(statement) if isinstance(statement, str) else statement
        self._compiled: dict[str, _Compiled] = {}

    def one(self, connection: Connection, values: Values) -> Any:
        """The only row, ``None`` when there is none."""
        rows = self.all(connection, values)
        if len(rows) > 1:
            raise ValueError("more than one row")
        return rows[0] if rows else None

    def all(self, connection: Connection, values: Values) -> list[Any]:
        """The rows."""
        compiled = self._for(connection, values)
        if (far := _far(connection)) is not None:
            known = far.known.get(self)
            if known is not None and known[0] == values:
                return known[1]
            settle(connection)
        found = driver(connection).execute(compiled.sql, compiled.bound(values)).fetchall()
        return [compiled.make(row) for row in found]

    def ahead(self, values: Values) -> Statement:
        """From now on, every write transaction on a server begins with this, at no round trip of its own. For what
        nearly all of them ask first."""
        _AHEAD.append((self, values))
        return self

    def run(self, connection: Connection, values: Values) -> int:
        """Changes rows; returns how many."""
        compiled = self._for(connection, values)
        changing(connection)
        count: int = driver(connection).execute(compiled.sql, compiled.bound(values)).rowcount
        return count

    def many(self, connection: Connection, rows: Sequence[Values]) -> None:
        """The same for each of these; nothing where there are none. On a server, how it went is known with the next
        answer, or the commit."""
        if rows:
            compiled = self._for(connection, rows[0])
            bound = [compiled.bound(values) for values in rows]
            if (far := _far(connection)) is None:
                driver(connection).cursor().executemany(compiled.sql, bound)
            else:
                far.known.clear()
                far.changes.append((compiled.sql, bound))

    def many_rows(self, connection: Connection, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """The same, with the values of each run in the order of ``names``, which are all that it needs."""
        if connection.dialect.name != _SQLITE:
            self.many(connection, [dict(zip(names, row, strict=True)) for row in rows])
        elif rows:
            compiled = self._for(connection, dict.fromkeys(names))
            if compiled.order != tuple(names):
                raise ValueError(f"this statement takes {compiled.order}, not {tuple(names)}")
            driver(connection).executemany(compiled.sql, rows)

    def _for(self, connection: Connection, values: Values) -> _Compiled:
        name = connection.dialect.name
        found = self._compiled.get(name)
        if found is None:
            found = self._compiled[name] = self._compile(connection, values)
        return found

    def _compile(self, connection: Connection, values: Values) -> _Compiled:
        dialect = connection.dialect
        compiled = self.statement.compile(dialect=dialect, column_keys=list(values))
        assert isinstance(compiled, SQLCompiler)
        found = () if isinstance(self.statement, TextClause) else self.statement.exported_columns
        columns = [str(column.key) for column in found]
        make: Callable[[Sequence[Any]], Any] = tuple
        if columns:
            make = getattr(namedtuple("Row", columns, rename=True), "_make")  # noqa: B009 - made here, so mypy has no name for it
            taken = [_impl(column.type, dialect).result_processor(dialect, None) for column in found]
            if any(taken):
                make = _converting(make, taken)
        given = {
            name: convert
            for name, bound in compiled.binds.items()
            if name in values and (convert := _impl(bound.type, dialect).bind_processor(dialect)) is not None
        }
        order = tuple(compiled.positiontup or ())
        return _Compiled(str(compiled), frozenset(values), order, _usual(compiled, dialect, values), given, make)


def _impl(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)


def _usual(compiled: SQLCompiler, dialect: Dialect, given: Values) -> Values:
    """The statement's own values in the database's form."""
    usual = {}
    for name, value in compiled.params.items():
        if name not in given:
            convert = _impl(compiled.binds[name].type, dialect).bind_processor(dialect)
            usual[name] = value if convert is None or value is None else convert(value)
    return usual


def _converting(
    make: Callable[[Sequence[Any]], Any], taken: Sequence[_Convert | None]
) -> Callable[[Sequence[Any]], Any]:
    return lambda row: make(
        [value if convert is None else convert(value) for value, convert in zip(row, taken, strict=True)]
    )


class ColumnChange:
    """An update of one table whose runs give different columns: a :class:`Statement` for each set of them."""

    __slots__ = ("_statement", "_statements")

    def __init__(self, statement: Update) -> None:
        self._statement = statement
        self._statements: dict[tuple[str, ...], Statement] = {}

    def of(self, values: Values) -> Statement:
        """The statement that takes values of these names."""
        names = tuple(values)
        found = self._statements.get(names)
        if found is None:
            found = self._statements[names] = Statement(self._statement)
        return found

    def run(self, connection: Connection, values: Values) -> int:
        """Changes rows; returns how many."""
        return self.of(values).run(connection, values)


def adding(table: Table) -> Statement:
    """Adds the amounts of a row, all that is no key, to those of the row with its keys, or as a new row."""
    return _into(table, lambda name: f"{table.name}.{name} + excluded.{name}")


def replacing(table: Table) -> Statement:
    """Puts the row in the place of the one with its keys, if there is one."""
    return _into(table, lambda name: f"excluded.{name}")


def _into(table: Table, amount: Callable[[str], str]) -> Statement:
    names, keys = [column.name for column in table.columns], [column.name for column in table.primary_key]
    changes = ", ".join(f"{name} = {amount(name)}" for name in names if name not in keys)
    return Statement(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)}) "  # noqa: S608 - names of ours
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    )


def one_of(column: ColumnElement[Any], words: Iterable[str]) -> ColumnElement[bool]:
    """Whether a column has one of these words, which are written into the SQL. Only for words of ours."""
    return column.in_([literal_column(f"'{word}'", Text()) for word in words])


_AHEAD: Final[list[tuple[Statement, Values]]] = []
_FAR: Final = "airboss_far"


def _far(connection: Connection) -> _Far | None:
    found: _Far | None = None if connection.dialect.name == _SQLITE else connection.info.get(_FAR)
    return found


def begin_far(connection: Connection, sql: str, values: Sequence[Any], *, ahead: bool) -> Any:
    """Begins a write transaction on a server, with this statement; returns the first value that it answers.
    ``ahead``: reads what was asked for with :meth:`Statement.ahead`, and sends changes late."""
    server, asked = driver(connection), _AHEAD if ahead else []
    with server.pipeline():  # with its BEGIN in one go
        first = server.execute(sql, values)
        made = [each._for(connection, given) for each, given in asked]
        found = [server.execute(each.sql, each.bound(given)) for each, (_, given) in zip(made, asked, strict=True)]
    if ahead:
        far = connection.info[_FAR] = _Far()
        for (each, given), compiled, cursor in zip(asked, made, found, strict=True):
            far.known[each] = given, [compiled.make(row) for row in cursor.fetchall()]
    return first.fetchone()[0]


def end_far(info: dict[Any, Any]) -> None:
    """The connection with this ``info`` is not used for a write transaction any more."""
    info.pop(_FAR, None)


def changing(connection: Connection) -> None:
    """Before anything that may change rows and does not go through a :class:`Statement`'s ``many``."""
    if (far := _far(connection)) is not None:
        far.known.clear()
        settle(connection)


def settle(connection: Connection, *, commit: bool = False) -> None:
    """Sends what was changed so far, ``commit``: with the commit. Raises the database's error."""
    far = _far(connection)
    if far is None or not far.changes:
        return
    changes, far.changes = far.changes, []
    server = driver(connection)
    with server.pipeline():
        for sql, rows in changes:
            for row in rows:
                server.execute(sql, row)
        if commit:  # an error before it ends the pipeline, and this is not run
            server.execute("COMMIT", prepare=False)


def forget_changes(connection: Connection) -> None:
    """What was not sent yet is undone. Of a connection that is lost nothing is left, and it must not be asked."""
    if not connection.invalidated and (far := _far(connection)) is not None:
        far.changes.clear()


def plain(connection: Connection, sql: str) -> None:
    """Runs a statement without values."""
    changing(connection)
    driver(connection).execute(sql)


def driver(connection: Connection) -> Any:
    """The driver's own connection, in the transaction that is open."""
    return connection.connection.dbapi_connection
