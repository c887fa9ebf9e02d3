"""What only PostgreSQL has: a server that goes away, roles and encodings, others who change the schema."""

from __future__ import annotations

import socket
import uuid
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from fleet.errors import Misused, StoreUnavailable
from fleet.store.chat import settings
from fleet.store.core import Store
from tests.far_end.postgres import Postgres


def read(store: Store, key: str) -> str:
    with store.transaction() as tx:
        return settings.get(tx, key)


def test_what_postgresql_is_asked_for(postgres: Postgres) -> None:
    """A writer that freezes in a transaction is let go before those who wait for it give up."""
    with Store.open(postgres.new_database()) as store, store.transaction() as tx:
        asked = [
            tx.connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("idle_in_transaction_session_timeout", "lock_timeout")
        ]
    assert asked == ["5s", "10s"]


def test_a_postgresql_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Check that PostgreSQL runs"):
        Store.open(f"postgresql+psycopg://postgres@/airboss?host={tmp_path}")


def test_a_postgresql_database_that_is_not_there(postgres: Postgres) -> None:
    with pytest.raises((Misused, StoreUnavailable), match="does not exist"):
        Store.open(postgres.url("nobody_made_this"))


def test_a_role_or_a_database_that_cannot_hold_a_store_is_told_with_the_remedy(postgres: Postgres) -> None:
    url, admin = postgres.new_database(), create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    role, other = f"r{uuid.uuid4().hex}", f"t{uuid.uuid4().hex}"
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        connection.exec_driver_sql(f"CREATE DATABASE {other} ENCODING 'SQL_ASCII' TEMPLATE template0")
    admin.dispose()
    with pytest.raises(Misused, match=r"permission denied for schema public.*OWNER TO"):
        Store.open(url.replace("postgres@", f"{role}@"))
    with pytest.raises(Misused, match=r"its encoding is SQL_ASCII.*ENCODING 'UTF8'"):
        Store.open(postgres.url(other))


async def test_a_postgresql_whose_schema_somebody_changed_is_away_and_comes_back(postgres: Postgres) -> None:
    url = postgres.new_database()
    other = create_engine(url)
    with Store.open(url) as store:
        for change, back in (
            ("ALTER TABLE settings RENAME TO theirs", "ALTER TABLE theirs RENAME TO settings"),
            ("ALTER TABLE settings RENAME COLUMN value TO v", "ALTER TABLE settings RENAME COLUMN v TO value"),
        ):
            with other.begin() as connection:
                connection.exec_driver_sql(change)
            with pytest.raises(StoreUnavailable, match="another program changed the schema"):
                await store.write(lambda tx: settings.put(tx, "a", "1"))
            with pytest.raises(StoreUnavailable, match="another program changed the schema"):
                await store.read(lambda tx: settings.get(tx, "a"))
            with other.begin() as connection:
                connection.exec_driver_sql(back)
            await store.write(partial(settings.put, key="a", value=change))
            assert read(store, "a") == change
    other.dispose()


async def test_a_database_that_takes_writes_again_is_used_again(postgres: Postgres) -> None:
    """A provider makes one read-only whose disk is full, and a session keeps that until it ends."""
    url = postgres.new_database()
    name, other = make_url(url).database, create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    with Store.open(url) as store, other.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        postgres.disconnect(url)
        with pytest.raises(StoreUnavailable, match="read-only transaction"):
            await store.write(partial(settings.put, key="a", value="1"))
        connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await store.write(partial(settings.put, key="a", value="2"))
        assert await store.read(partial(settings.get, key="a")) == "2"
    other.dispose()


def test_a_postgresql_that_takes_a_connection_and_says_nothing_is_away() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        url = f"postgresql+psycopg://me@127.0.0.1:{server.getsockname()[1]}/x?connect_timeout=2&sslmode=disable"
        with pytest.raises(StoreUnavailable, match="connection timeout expired"):
            Store.open(url)


def test_a_postgresql_that_restarted_costs_no_write(postgres: Postgres) -> None:
    with Store.open(postgres.new_database()) as store:
        assert read(store, "a") == ""
        admin = create_engine(postgres.url("postgres"))
        with admin.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname <> 'postgres' AND pid <> pg_backend_pid()"
            )
        admin.dispose()
        with store.transaction() as tx:
            settings.put(tx, "a", "1")
        assert read(store, "a") == "1"
