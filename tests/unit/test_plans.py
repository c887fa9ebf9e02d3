"""The look at SQLite's plans finds what costs more as the store grows, and lets pass what does not."""

from __future__ import annotations

import itertools
import pkgutil
import sqlite3
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from fleet import store
from fleet.store import ledger, tables
from fleet.store.core import Store
from fleet.store.statements import ColumnChange, Statement
from tests.plans import SMALL, explained, problems

COSTLY = {
    "a walk": "SELECT id FROM tasks WHERE prompt = 'x'",
    "a walk to count": "SELECT count(*) FROM inbox WHERE why = 'x'",
    "a walk of an index": "SELECT task, count(*) FROM approvals GROUP BY task",
    "a walk with a limit that may never be reached": "SELECT id FROM outbox WHERE why = 'x' LIMIT 1",
    "a walk inside": "SELECT id FROM tasks WHERE id IN (SELECT task FROM gate_runs WHERE gate = 'x')",
    "a sort": "SELECT seq FROM ledger WHERE kind IN ('a', 'b') ORDER BY seq LIMIT 5",
    "a sort by time": "SELECT seq FROM ledger WHERE time_us >= 5 ORDER BY seq LIMIT 1",
    "a walk under another name": "SELECT 1 FROM ledger a, ledger b WHERE a.seq = 5 AND b.actor = a.actor",
    "an index made for one statement": "SELECT 1 FROM notes a JOIN turns b ON a.text = b.claim WHERE a.id = 5",
    "a change of all": "UPDATE sessions SET seen_us = 0 WHERE agent = 'x'",
}
CHEAP = {
    "the last": "SELECT max(seq) FROM ledger",
    "the newest": "SELECT id FROM tasks ORDER BY number DESC LIMIT 5",
    "a page": "SELECT seq FROM ledger WHERE seq > 5 ORDER BY seq LIMIT 5",
    "those of one thing, sorted": "SELECT id FROM notes WHERE session = 't1.1' ORDER BY text",
    "what is open, sorted": "SELECT id FROM tasks WHERE state IN ('queued', 'running') ORDER BY number",
    "a small table": "SELECT value FROM settings WHERE value = 'x'",
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("plans") / "a.db"
    Store.open(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


@pytest.mark.parametrize("statement", COSTLY.values(), ids=COSTLY.keys())
def test_what_grows_with_the_store_is_found(database: sqlite3.Connection, statement: str) -> None:
    assert problems(explained(database, statement, ()), statement)


@pytest.mark.parametrize("statement", CHEAP.values(), ids=CHEAP.keys())
def test_what_does_not_passes(database: sqlite3.Connection, statement: str) -> None:
    assert problems(explained(database, statement, ()), statement) == []


def test_the_small_tables_exist() -> None:
    assert set(tables.metadata.tables) > SMALL - {"alembic_version"}


POSTGRESQL_ONLY = {"fleet.store.core._POSTGRESQL_NOW"}
"""The time of a server, which reads no table."""


def hot() -> list[tuple[str, Statement]]:
    """The statements that go past SQLAlchemy, so that nothing sees them run."""
    found = pkgutil.walk_packages(store.__path__, "fleet.store.")
    modules = [import_module(module.name) for module in found if ".migrations." not in module.name]
    named = [(f"{module.__name__}.{name}", value) for module in modules for name, value in vars(module).items()]
    several = [(f"{name}-{key}", each) for name, value in named for key, each in _parts(value)]
    pages = [
        (f"{upto}-{task}-{kinds}", ledger.page_statement(upto=upto, task=task, kinds=kinds))
        for upto, task, kinds in itertools.product((False, True), (False, True), (0, 1, 2))
        if upto or task or kinds
    ]
    every = (*named, *several, *pages)
    return [(name, each) for name, each in every if isinstance(each, Statement) and name not in POSTGRESQL_ONLY]


def _parts(value: object) -> Iterator[tuple[object, Statement]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, ColumnChange):
        yield "of", value.of({})


@pytest.mark.parametrize("statement", [made for _, made in hot()], ids=[name for name, _ in hot()])
def test_what_goes_to_the_driver_is_looked_at_too(database: sqlite3.Connection, statement: Statement) -> None:
    compiled = statement.statement.compile(dialect=sqlite.dialect())
    assert isinstance(compiled, SQLCompiler)
    given = [None] * len(compiled.positiontup or ())
    assert problems(explained(database, str(compiled), given), str(compiled)) == []


def test_a_statement_refuses_other_names_than_before(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as opened, opened.transaction() as tx:
        changed = Statement(tables.settings.update())
        changed.run(tx.connection, {"value": "x"})
        with pytest.raises(ValueError, match="not with"):
            changed.run(tx.connection, {"value": "x", "key": "y"})
