"""A process that was frozen, or whose machine slept, in the middle of a write to PostgreSQL."""

from __future__ import annotations

import time

import psycopg
import pytest

from fleet.errors import StoreUnavailable
from fleet.store.chat import settings
from fleet.store.core import Store
from tests.far_end.postgres import Postgres


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
