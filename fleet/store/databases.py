"""The two supported databases: connecting, translating their errors, and upgrading their schema."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from fleet.errors import Misused, StoreUnavailable
from fleet.store import tables
from fleet.store.copying import copy_file
from fleet.store.database_errors import (
    OF_A_SESSION,
    SQLITE_HINTS,
    WAIT_SECONDS,
    of_psycopg,
    refused_a_write,
    translated,
)
from fleet.store.frozen import end_frozen_writer
from fleet.store.migrations import HEAD
from fleet.store.statements import begin_far, changing, end_far, forget_changes, plain, settle

_log = logging.getLogger(__name__)

_LED_US: Final = 15_000_000
"""So long a controller's lease lasts at most."""
_COPIES = 2  # of the store as earlier versions left it

_CHECKPOINT_PAGES = 4_000  # 16 MiB: pages of an index that change all the time are written back less often

_URL_HINT = "Use sqlite:////absolute/path/airboss.db or postgresql+psycopg://user@host/database"


_WRITER_LOCK = (
    "WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(%s)) "
    "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) FROM locked"
)
_WRITER_LOCK_KEY = 0x416972626F7373
_NO_LOCK_IN_TIME = "55P03"


class Transaction(Enum):
    """``BROKEN``: a statement failed; only a rollback to a savepoint makes it usable again (PostgreSQL). ``GONE``:
    the database rolled it back, as SQLite does when the disk is full, or the connection is lost."""

    OPEN = "open"
    BROKEN = "broken"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Database:
    """Two engines on one database: ``writer`` begins exclusively, ``reader`` takes snapshots and cannot write."""

    writer: Engine
    reader: Engine
    name: str

    @contextmanager
    def translating_errors(self, attempted: str, *, reading: bool = False, opening: bool = False) -> Iterator[None]:
        """Turns the database's own errors into ``StoreUnavailable`` with a hint; bugs pass unchanged.

        ``reading``: a refused write is our own bug. ``opening``: a refused login means that the URL is wrong
        (``Misused``); later it means that the database is away.
        """
        try:
            yield
        except Exception as error:
            if not isinstance(error, DBAPIError | sqlite3.Error) and not of_psycopg(error):
                raise
            said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            if reading and refused_a_write(said):
                raise
            meant = translated(said, attempted, self.name, opening)
            if meant is None:
                raise
            if getattr(said, "sqlstate", "") == _NO_LOCK_IN_TIME:
                end_frozen_writer(self.reader, _WRITER_LOCK_KEY)
            if getattr(said, "sqlstate", "") in OF_A_SESSION:
                self.dispose()
            raise meant from error

    def dispose(self) -> None:
        """Closes every connection."""
        self.reader.dispose()
        self.writer.dispose()


def connect(text: str, *, create: bool) -> Database:
    """Engines for a URL. Connects to nothing yet, but creates a missing SQLite file if ``create``."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise Misused(
            attempted="open the store", cause="its URL cannot be read", hint=_URL_HINT
        ) from None  # the text may hold a password
    name = url.render_as_string(hide_password=True)
    try:
        if url.drivername in ("sqlite", "sqlite+pysqlite"):
            _place(url, name, create)
            return _sqlite(url, name)
        if url.drivername in ("postgresql", "postgresql+psycopg"):
            return _postgresql(url.set(drivername="postgresql+psycopg"), name)
    except (ImportError, NoSuchModuleError) as error:
        raise Misused(
            attempted="open the store",
            on=name,
            cause=str(error),
            hint="PostgreSQL needs psycopg 3: install airboss[postgres]",
        ) from error
    raise Misused(attempted="open the store", on=name, cause=f"no support for {url.drivername!r}", hint=_URL_HINT)


def prepare(database: Database, *, alone: bool = False) -> str:
    """Upgrades the schema to ``HEAD`` and returns the store's instance id, made at its creation.

    Uses one exclusive transaction, so that processes opening a new store together do it once. ``alone``: whoever
    opens a file here knows that no controller has it.
    """
    with database.translating_errors("open the store", opening=True), database.writer.begin() as connection:
        take_writer_lock(connection, ahead=False)
        found = _revision(connection)
        if found != HEAD:
            if found and not (alone and connection.dialect.name == "sqlite"):
                _demand_unled(connection, database.name)
            _upgrade(connection, found, database.name)
        query = select(tables.meta.c.value).where(tables.meta.c.key == "instance")
        instance = connection.execute(query).scalar_one_or_none()
        if instance is None:
            instance = secrets.token_hex(4)
            connection.execute(insert(tables.meta), {"key": "instance", "value": instance})
        return instance


def take_writer_lock(connection: Connection, *, ahead: bool = True) -> int:
    """Waits until no other write transaction is open; SQLite's BEGIN IMMEDIATE already does. Returns the server's
    time since the epoch in microseconds, read under the lock; 0: there is no server.

    ``ahead``: the store's tables are there, and what the transaction surely asks of them is asked at once.
    """
    if connection.dialect.name != "postgresql":
        return 0
    return int(begin_far(connection, _WRITER_LOCK, (_WRITER_LOCK_KEY,), ahead=ahead))


def transaction_of(connection: Connection) -> Transaction:
    """The state of the connection's transaction. Costs no statement."""
    if connection.invalidated:
        return Transaction.GONE
    driver: Any = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        return Transaction.OPEN if driver.in_transaction else Transaction.GONE
    status: int = driver.info.transaction_status
    return {2: Transaction.OPEN, 3: Transaction.BROKEN}.get(status, Transaction.GONE)


def is_dead(connection: Connection) -> bool:
    """Whether the server ended this connection, as one that restarted did."""
    if connection.invalidated:
        return True
    driver: Any = connection.connection.driver_connection
    return not isinstance(driver, sqlite3.Connection) and bool(driver.closed)


def _demand_unled(connection: Connection, name: str) -> None:
    """Raises ``StoreUnavailable`` while a controller of another version is at work here: under its hands the schema
    must not change. One that was killed holds its lease for some seconds."""
    now_us = time.time_ns() // 1_000
    if connection.dialect.name == "postgresql":
        now_us = int(connection.exec_driver_sql(_WRITER_LOCK, (_WRITER_LOCK_KEY,)).scalar_one())
    led = tables.leases.c.name.startswith("member:") | (tables.leases.c.name == "controller")
    lasts = tables.leases.c.expires_us.between(now_us, now_us + _LED_US)
    holder = connection.execute(select(tables.leases.c.holder).where(led, lasts).limit(1)).scalar_one_or_none()
    if holder:
        raise StoreUnavailable(
            attempted="upgrade the store",
            on=name,
            cause=f"a controller of an earlier version is at work: {holder}",
            hint="Restart it with this version first; end all of them, where several share the store.",
        )


def _demand_utf8(connection: Connection, name: str) -> None:
    """Raises ``Misused`` for a database that cannot take every text."""
    if connection.dialect.name != "postgresql":
        return
    driver: Any = connection.connection.driver_connection
    encoding = driver.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Misused(
            attempted="open the store",
            on=name,
            cause=f"its encoding is {encoding}, and people and agents write in UTF-8",
            hint="Make it with: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0",
        )


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none() or ""


def _keep_copy(connection: Connection, found: str) -> None:
    """A copy of the store as the version before left it, beside it: the way back. Only SQLite's is one file.

    Raises ``StoreUnavailable`` when it cannot be written: then nothing is upgraded.
    """
    driver: Any = connection.connection.driver_connection
    file = connection.engine.url.database
    if not isinstance(driver, sqlite3.Connection) or not file:
        return
    copy = Path(f"{file}.schema-{found}")
    try:
        copy.unlink(missing_ok=True)
        copy_file(Path(file), copy)
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            copy.unlink(missing_ok=True)
        raise StoreUnavailable(
            attempted="copy the store before its upgrade", on=str(copy), cause=str(error), hint="Free some space."
        ) from error
    kept = sorted(
        copy.parent.glob(f"{Path(file).name}.schema-*"), key=lambda path: (path.stat().st_mtime_ns, path.name)
    )
    for old in kept[:-_COPIES]:
        old.unlink(missing_ok=True)


def _upgrade(connection: Connection, found: str, name: str) -> None:
    if connection.dialect.name == "postgresql":
        # Loading the steps, or one of them, may take longer than a writer may be idle; ended for that, it would
        # fail at each start.
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    here = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(here).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found and found not in known:
        raise Misused(
            attempted="open the store",
            on=name,
            cause=f"a newer version wrote it (schema {found}; this version knows up to {HEAD})",
            hint="Update Airboss, or restore a backup made before the update",
        )
    if found:
        _keep_copy(connection, found)
    else:
        _demand_utf8(connection, name)
    command.upgrade(config, HEAD)
    if found:
        _log.info("the store was upgraded from schema %s to %s", found, HEAD)


def _place(url: URL, name: str, create: bool) -> None:
    path = url.database or ""
    if path in ("", ":memory:") or path.startswith("file:"):
        raise Misused(attempted="open the store", on=name, cause="a store is a file on disk", hint=_URL_HINT)
    file = Path(path)
    if not create and not file.exists():
        raise Misused(
            attempted="open the store",
            on=name,
            cause="it does not exist",
            hint="Start `airboss serve` once, or check AIRBOSS_HOME",
        )
    if not file.parent.is_dir():
        raise StoreUnavailable(
            attempted="open the store",
            on=name,
            cause=f"there is no directory {file.parent}",
            hint="Make it, or mount its disk: a store that is begun there would be an empty one",
        )
    try:
        # SQLite gives its -wal and -shm files the mode of the main file.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        file.chmod(0o600)
    except OSError as error:
        raise StoreUnavailable(
            attempted="open the store", on=name, cause=str(error), hint=SQLITE_HINTS["SQLITE_CANTOPEN"]
        ) from error


def _sqlite(url: URL, name: str) -> Database:
    def engine(begin: str, *, query_only: bool) -> Engine:
        # The driver waits for a lock for `timeout` seconds; that is PRAGMA busy_timeout.
        made = create_engine(url, connect_args={} if "timeout" in url.query else {"timeout": WAIT_SECONDS})

        @event.listens_for(made, "connect")
        def configure(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA recursive_triggers=ON")
            connection.execute(f"PRAGMA query_only={int(query_only)}")

        @event.listens_for(made, "begin")
        def start(connection: Connection) -> None:
            plain(connection, begin)

        return made

    return Database(engine("BEGIN IMMEDIATE", query_only=False), engine("BEGIN", query_only=True), name)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches the file to WAL. The busy timeout does not cover this switch, so two first openers take turns."""
    for _ in range(WAIT_SECONDS * 50):
        try:
            if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                return
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
            threading.Event().wait(0.02)
    connection.execute("PRAGMA journal_mode=WAL")


_ANSWERS: Final = {
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that takes a connection and says nothing, or whose host is gone without a word, is away: otherwise a
controller would wait for it for hours, and no signal would end its start."""


def _postgresql(url: URL, name: str) -> Database:
    # A controller that freezes inside a write would otherwise block all others while its connection lives.
    limits = f"-c lock_timeout={WAIT_SECONDS}s -c idle_in_transaction_session_timeout={WAIT_SECONDS // 2}s"
    wanted = {"options": limits, **_ANSWERS}
    options = {name: value for name, value in wanted.items() if name not in url.query}
    # Here and not with the table: there it would load this dialect at each start of a program that has SQLite.
    (imported,) = (each for each in tables.ledger.indexes if each.name == "ix_ledger_imported_time_us")
    imported.dialect_kwargs["postgresql_where"] = imported.dialect_kwargs["sqlite_where"]
    writer = create_engine(url, connect_args=options, pool_pre_ping=True)
    _send_late(writer)
    reader = create_engine(url, connect_args=options, pool_pre_ping=True).execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    return Database(writer, reader, name)


def _send_late(writer: Engine) -> None:
    """What a write transaction changed goes to the server before whatever else is asked, or with its commit."""

    @event.listens_for(writer, "before_cursor_execute")
    def before(connection: Connection, *_: object) -> None:
        changing(connection)

    @event.listens_for(writer, "commit")
    def commit(connection: Connection) -> None:
        settle(connection, commit=True)

    @event.listens_for(writer, "rollback")
    def rollback(connection: Connection) -> None:
        forget_changes(connection)

    @event.listens_for(writer, "checkin")
    def checkin(_: object, record: Any) -> None:
        end_far(record.info)
