"""A process that was frozen, or whose machine slept, in the middle of a write to PostgreSQL."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import event

from fleet.errors import StoreUnavailable
from fleet.store import databases
from fleet.store.chat import settings
from fleet.store.core import Store
from fleet.store.databases import _WRITER_LOCK_KEY
from tests.far_end.postgres import Postgres


class Asked(Exception):
    """What the driver would be asked for is known."""


def test_a_server_that_says_nothing_is_not_waited_for_for_ever() -> None:
    """A start that waits for it hears no signal."""
    asked = dict[str, object]()
    made = databases.connect("postgresql://me@db.example/x?keepalives_idle=60", create=False)

    @event.listens_for(made.writer, "do_connect")
    def connect(_dialect: object, _record: object, _words: object, given: dict[str, object]) -> None:
        asked.update(given)
        raise Asked

    with pytest.raises(Asked):
        made.writer.connect()
    assert (asked["connect_timeout"], asked["tcp_user_timeout"], asked["keepalives_idle"]) == (10, 30_000, "60")


def test_a_write_that_its_process_slept_through_is_no_bug(postgres: Postgres) -> None:
    """The server has ended its transaction for those who waited; who wakes up starts again."""
    with Store.open(postgres.new_database()) as store:
        with pytest.raises(StoreUnavailable, match="idle"), store.translating_errors("write to the store"):
            raise psycopg.errors.IdleInTransactionSessionTimeout("ended: idle in a transaction")
        with pytest.raises(StoreUnavailable), store.transaction() as tx:
            settings.put(tx, "a", "half")
            tx.connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '100ms'")
            time.sleep(1.0)  # frozen
            settings.put(tx, "b", "half")
        with store.transaction() as tx:
            assert settings.get(tx, "a") == ""
            settings.put(tx, "a", "whole")
        with store.transaction() as tx:
            assert settings.get(tx, "a") == "whole"


def test_a_writer_that_was_frozen_in_the_middle_of_a_pipeline_is_ended_by_who_waited_for_it(
    postgres: Postgres,
) -> None:
    url = postgres.new_database()
    with Store.open(url):
        pass
    limits = quote("-c lock_timeout=100ms -c idle_in_transaction_session_timeout=50ms")
    with (
        closing(psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)) as frozen,
        Store.open(f"{url}&options={limits}") as store,
    ):
        far = frozen.pgconn
        far.enter_pipeline_mode()
        far.send_query_params(b"BEGIN", None)
        far.send_query_params(b"SELECT pg_advisory_xact_lock(%d)" % _WRITER_LOCK_KEY, None)
        far.send_flush_request()
        while far.flush():
            pass
        with psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as looks:
            while not looks.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted").fetchone():
                time.sleep(0.01)
        for _ in range(100):  # busy machines need more than the usual two
            with suppress(StoreUnavailable), store.transaction() as tx:
                settings.put(tx, "a", "written")
                break
        with store.transaction() as tx:
            assert settings.get(tx, "a") == "written"
