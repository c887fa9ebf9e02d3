"""What a write asks of PostgreSQL with its begin and sends with its commit: it is as if it were sent at once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading

import pytest
from sqlalchemy import update

from fleet.errors import Refused
from fleet.store import leases, tables
from fleet.store.chat import settings
from fleet.store.core import Store, Tx
from tests.contracts.test_store_group import put, together, values


def twice(tx: Tx) -> None:
    """What the database refuses only when it hears of it, which may be with the commit."""
    once = (leases.Lease("twice", "me", 1, 0), leases.Term("boot", 0, 1))
    leases.begin_all(tx, [once, once])


def twice_and_not(tx: Tx) -> None:
    """What the database need never hear of."""
    with contextlib.suppress(sqlite3.IntegrityError):
        twice(tx)
    raise Refused(attempted="write")


async def test_what_the_database_refuses_late_is_the_error_of_that_write_alone(store: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.write(twice)
    first, wrong, undone, last = await together(store, put("a"), twice, twice_and_not, put("b"))
    assert first is last
    assert "unique" in str(wrong).casefold()
    assert isinstance(undone, Refused)
    assert await values(store, "a", "b") == ["1", "1"]


async def test_nor_is_it_the_error_of_those_who_came_while_it_was_alone(store: Store) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def first(tx: Tx) -> None:
        try:
            twice(tx)  # SQLite refuses it here, PostgreSQL with the commit
        finally:
            inside.set()
            go_on.wait(60)

    wrong = asyncio.create_task(store.write(first))
    await asyncio.to_thread(inside.wait, 60)
    right = asyncio.create_task(store.write(put("a")))
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(Exception, match=r"(?i)unique"):
        await wrong
    await right
    assert await values(store, "a") == ["1"]


async def test_in_a_part_it_ends_that_part_alone(store: Store) -> None:
    def work(tx: Tx) -> None:
        leases.begin_all(tx, [(leases.Lease("kept", "me", 1, 0), leases.Term("boot", 0, 1))])
        with pytest.raises(Exception, match=r"(?i)unique"), tx.part():
            twice(tx)
        with pytest.raises(Refused), tx.part():
            twice_and_not(tx)
        settings.put(tx, "a", "1")

    await store.write(work)
    assert await values(store, "a") == ["1"]
    with store.transaction() as tx:
        found = tx.connection.execute(tables.leases.select().with_only_columns(tables.leases.c.name)).scalars()
        assert list(found) == ["kept"]


async def test_a_transaction_sees_what_it_changed_of_what_it_read_with_its_begin(store: Store) -> None:
    def work(tx: Tx) -> list[str]:
        found = [leases.look(tx, leases.LEADERSHIP)]
        leases.acquire(tx, leases.LEADERSHIP, "me", 60_000_000)
        found.append(leases.look(tx, leases.LEADERSHIP))
        return [each.holder if each else "" for each in found]

    def directly(tx: Tx) -> str:
        tx.connection.execute(update(tables.leases).values(holder="another"))
        found = leases.look(tx, leases.LEADERSHIP)
        return found.holder if found else ""

    assert await store.write(work) == ["", "me"]
    assert await store.write(directly) == "another"
