"""What an older version wrote is brought up on both databases, and nothing of it is lost or changed."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, select, text

from fleet.errors import StoreUnavailable
from fleet.store import ledger, migrations, tables, tasks
from fleet.store.copying import copy_file
from fleet.store.core import Store
from gates.receipts.verify import check_ledger, check_shape
from tests.far_end.old_homes import HOME_0002, unpack_home
from tests.far_end.postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The archived AIRBOSS_HOME."""
    unpack_home(HOME_0002, tmp_path / "old")
    return tmp_path / "old" / "home"


@pytest.fixture
def old_url(home: Path, store_url: str) -> str:
    """The old store on either database: the file itself, or its rows in PostgreSQL under the same schema."""
    old = f"sqlite:///{home / 'airboss.db'}"
    if store_url.startswith("sqlite"):
        return old
    source, target = create_engine(old), create_engine(store_url)
    config = Config()
    config.set_main_option("script_location", str(ROOT / "fleet/store/migrations"))
    with source.connect() as here, target.begin() as there:
        config.attributes["connection"] = there
        command.upgrade(config, "0002")
        schema = MetaData()
        schema.reflect(there)
        for table in schema.sorted_tables:
            if table.name == "alembic_version":
                continue
            rows = here.execute(select(table)).mappings().all()
            if rows:
                there.execute(table.insert(), [dict(row) for row in rows])
    source.dispose()
    target.dispose()
    return store_url


def old_rows(home: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(home / "airboss.db") as database:
        rows = database.execute(query).fetchall()
    database.close()
    return rows


async def test_ledger_tasks_and_receipt_are_what_they_were(home: Path, old_url: str) -> None:
    events = old_rows(home, "SELECT seq, canonical FROM ledger ORDER BY seq")
    states = old_rows(home, "SELECT id, state FROM tasks ORDER BY number")
    receipt = (home / "receipts" / "t1.json").read_bytes()
    with Store.open(old_url) as store:
        with store.transaction() as tx:
            context = MigrationContext.configure(tx.connection, opts={"compare_type": True})
            assert compare_metadata(context, tables.metadata) == []
            assert context.get_current_revision() == migrations.HEAD
            query = select(tables.ledger.c.seq, tables.ledger.c.canonical).order_by(tables.ledger.c.seq)
            assert [tuple(row) for row in tx.connection.execute(query)] == events
            assert len(ledger.read(tx)) == len(events)
            assert [(task_id, tasks.task(tx, str(task_id)).state) for task_id, _ in states] == states
        shape, statement = check_shape(receipt)
        assert shape.ok
        assert (await check_ledger(receipt, statement, store)).ok


def test_every_old_row_is_still_there(home: Path, old_url: str) -> None:
    names = [str(name) for (name,) in old_rows(home, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    before = {name: old_rows(home, f"SELECT count(*) FROM {name}")[0][0] for name in names}
    with Store.open(old_url) as store, store.transaction() as tx:
        after = {name: tx.connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in names}
    assert after == before


def test_an_upgrade_may_compute_for_longer_than_a_writer_may_be_idle(postgres: Postgres) -> None:
    asked: list[str] = []

    def ask(connection: Connection, _: object, statement: str, *__: object) -> None:
        if statement.startswith("CREATE INDEX"):
            driver: Any = connection.connection.driver_connection
            asked.extend(driver.execute("SHOW idle_in_transaction_session_timeout").fetchone())

    event.listen(Engine, "after_cursor_execute", ask)
    try:
        with Store.open(postgres.new_database()) as store, store.transaction() as tx:
            after = tx.connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one()
    finally:
        event.remove(Engine, "after_cursor_execute", ask)
    assert set(asked) == {"0"}
    assert after == "5s"


def test_the_store_as_the_old_version_left_it_stays_beside_it_as_the_way_back(home: Path) -> None:
    home = home.rename(home.with_name("home #1"))
    file = home / "airboss.db"
    before = old_rows(home, "SELECT seq, canonical FROM ledger ORDER BY seq")
    (home / "airboss.db.schema-0000").touch()
    (home / "airboss.db.schema-0001").touch()
    with Store.open(f"sqlite:///{file}"):
        pass
    copy = home / "airboss.db.schema-0002"
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("0002",)]
        assert database.execute("SELECT seq, canonical FROM ledger ORDER BY seq").fetchall() == before
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not (home / "airboss.db.schema-0000").exists(), "the newest two stay"
    with Store.open(f"sqlite:///{copy}"):
        pass  # a copy can be used in place of the store


def test_without_room_for_the_copy_nothing_is_upgraded(home: Path) -> None:
    (home / "airboss.db.schema-0002").mkdir()
    with pytest.raises(StoreUnavailable, match="before its upgrade"):
        Store.open(f"sqlite:///{home / 'airboss.db'}")
    assert old_rows(home, "SELECT version_num FROM alembic_version") == [("0002",)]


def test_no_schema_changes_under_a_controller_of_an_earlier_version(old_url: str, home: Path) -> None:
    """``airboss export`` between an installation and the restart that takes it into use."""
    engine = create_engine(old_url)

    def lasts(seconds: int) -> None:
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE leases SET holder = 'old', expires_us = :us WHERE name = 'controller'"),
                {"us": time.time_ns() // 1_000 + seconds * 1_000_000},
            )

    lasts(14)
    with pytest.raises(StoreUnavailable, match="a controller of an earlier version is at work: old"):
        Store.open(old_url, create=False)
    lasts(-1)
    with Store.open(old_url, create=False):
        pass
    engine.dispose()


def test_a_lease_from_the_future_and_that_of_a_dead_one_stop_no_upgrade(home: Path) -> None:
    url = f"sqlite:///{home / 'airboss.db'}"
    (home / "copy").mkdir()
    copy_file(home / "airboss.db", home / "copy" / "airboss.db")
    for file, ahead, alone in (("airboss.db", 86_400, False), ("copy/airboss.db", 5, True)):
        url = f"sqlite:///{home / file}"
        with closing(sqlite3.connect(home / file)) as database, database:
            us = time.time_ns() // 1_000 + ahead * 1_000_000
            database.execute("UPDATE leases SET holder = 'old', expires_us = ? WHERE name = 'controller'", (us,))
        with Store.open(url, create=alone):
            pass
