"""Group commit on both databases: what waits shares a commit, and nothing else."""

from __future__ import annotations

import asyncio
import resource
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine

from fleet.errors import Refused, StoreUnavailable
from fleet.store.chat import settings
from fleet.store.core import Store, Tx
from tests.far_end.postgres import Postgres

Work = Callable[[Tx], Any]


async def together(store: Store, *works: Work) -> list[Any]:
    """Gives the store functions while it is busy, so that they wait together. Answers results and errors."""
    inside, go_on = threading.Event(), threading.Event()

    def busy(_: Tx) -> None:
        inside.set()
        go_on.wait(60)

    first = asyncio.create_task(store.write(busy))
    await asyncio.to_thread(inside.wait, 60)
    waiting: list[Awaitable[Any]] = [asyncio.create_task(store.write(work)) for work in works]
    await asyncio.sleep(0)  # each has begun
    go_on.set()
    return (await asyncio.gather(first, *waiting, return_exceptions=True))[1:]


def put(key: str, value: str = "1", callback: Callable[[], object] | None = None) -> Work:
    def work(tx: Tx) -> Connection:
        settings.put(tx, key, value)
        if callback is not None:
            tx.after_commit(callback)
        return tx.connection

    return work


def fails(tx: Tx) -> None:
    settings.put(tx, "failed", "1")
    tx.after_commit(lambda: pytest.fail("the callback of a write that failed"))
    raise Refused(attempted="write")


async def values(store: Store, *keys: str) -> list[str]:
    return await store.read(lambda tx: [settings.get(tx, key) for key in keys])


async def test_what_waits_shares_one_transaction(store: Store) -> None:
    found = await together(store, put("a"), put("b"), put("c"))
    assert len({id(connection) for connection in found}) == 1
    assert await values(store, "a", "b", "c") == ["1", "1", "1"]


@pytest.mark.parametrize("at", range(3))
async def test_one_that_fails_undoes_its_own_work_only(store: Store, at: int) -> None:
    heard: list[str] = []
    works = [put("a", callback=lambda: heard.append("a")), put("b", callback=lambda: heard.append("b"))]
    works.insert(at, fails)
    found = await together(store, *works)
    assert [type(result) for result in found] == [Refused if n == at else Connection for n in range(3)]
    assert await values(store, "a", "b", "failed") == ["1", "1", ""]
    assert heard == ["a", "b"]


async def test_a_lone_write_that_fails_leaves_nothing_and_the_next_goes_on(store: Store) -> None:
    with pytest.raises(Refused):
        await store.write(fails)
    await store.write(put("a"))
    assert await values(store, "a", "failed") == ["1", ""]


async def test_an_error_of_the_database_in_one_leaves_the_others(store: Store) -> None:
    def wrong(tx: Tx) -> None:
        tx.connection.exec_driver_sql("SELECT this WHERE")

    first, bug, last = await together(store, put("a"), wrong, put("b"))
    assert isinstance(bug, Exception) and not isinstance(bug, StoreUnavailable)
    assert first is last
    assert await values(store, "a", "b") == ["1", "1"]


async def test_each_sees_what_those_before_it_wrote_and_is_called_back_in_their_order(store: Store) -> None:
    heard: list[int] = []

    def count(tx: Tx) -> int:
        number = int(settings.get(tx, "n", "0")) + 1
        settings.put(tx, "n", str(number))
        tx.after_commit(lambda: heard.append(number))
        return number

    assert await together(store, *[count] * 20) == list(range(1, 21))
    assert heard == list(range(1, 21))


async def test_a_cancelled_caller_stops_neither_its_own_write_nor_others(store: Store) -> None:
    inside, go_on, committed = threading.Event(), threading.Event(), asyncio.Event()

    def busy(_: Tx) -> None:
        inside.set()
        go_on.wait(60)

    first = asyncio.create_task(store.write(busy))
    await asyncio.to_thread(inside.wait, 60)
    cancelled = asyncio.create_task(store.write(put("a", callback=committed.set)))
    other = asyncio.create_task(store.write(put("b")))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    go_on.set()
    await asyncio.gather(first, other)
    assert committed.is_set()
    assert await values(store, "a", "b") == ["1", "1"]


async def test_a_precondition_that_fails_ends_its_own_write_only(store: Store) -> None:
    class Over:
        def check(self, tx: Tx) -> None:
            raise Refused(attempted="write")

    async def bound(_: Store) -> None:
        await store.under(Over()).write(put("b"))

    inside, go_on = threading.Event(), threading.Event()

    def busy(_: Tx) -> None:
        inside.set()
        go_on.wait(60)

    first = asyncio.create_task(store.write(busy))
    await asyncio.to_thread(inside.wait, 60)
    other, refused = asyncio.create_task(store.write(put("a"))), asyncio.create_task(bound(store))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, other)
    with pytest.raises(Refused):
        await refused
    assert await values(store, "a", "b") == ["1", ""]


async def test_a_write_that_goes_on_after_an_error_of_the_database_is_a_bug_and_not_a_silence(
    postgres: Postgres,
) -> None:
    """PostgreSQL rolls such a transaction back at its commit, and says nothing."""

    def swallows(tx: Tx) -> None:
        settings.put(tx, "a", "1")
        try:
            tx.connection.exec_driver_sql("SELECT this WHERE")
        except Exception:
            return

    with Store.open(postgres.new_database()) as store:
        with pytest.raises(RuntimeError, match="continued after a database error"):
            await store.write(swallows)
        bug, fine = await together(store, swallows, put("b"))
        assert isinstance(bug, RuntimeError) and not isinstance(fine, Exception)
        assert await values(store, "a", "b") == ["", "1"]


async def test_a_full_database_fails_the_whole_group_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """SQLite rolls back all of a transaction, not only the statement, when a page cannot be had."""
    with Store.open(f"sqlite:///{tmp_path / 's.db'}") as store:
        heard: list[str] = []
        with store.transaction() as tx:
            pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
        small = put("a", callback=lambda: heard.append("a"))
        found = await together(store, small, put("big", "x" * 100_000), small)
        assert [type(result) for result in found[:2]] == [StoreUnavailable] * 2
        assert "Free some space" in str(found[1]) and "full" in str(found[0])
        assert not isinstance(found[2], Exception), "it came after the group that failed"
        assert await values(store, "a", "big") == ["1", ""]
        assert heard == ["a"]


@contextmanager
def no_file_longer_than(limit: int) -> Iterator[None]:
    """A write beyond that fails in this process, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_commit_that_fails_fails_the_whole_group(tmp_path: Path) -> None:
    """SQLite writes its log at the commit: until then every function had gone well."""
    file = tmp_path / "s.db"
    heard: list[str] = []
    with Store.open(f"sqlite:///{file}") as store:
        await store.write(put("before"))
        with no_file_longer_than(file.with_name("s.db-wal").stat().st_size):
            found = await together(store, *[put(key, callback=lambda: heard.append("!")) for key in "abc"], fails)
            await asyncio.sleep(0)
        assert [type(result) for result in found] == [StoreUnavailable] * 3 + [Refused]
        assert len({id(result) for result in found}) == 4
        assert heard == []
        assert await values(store, "before", "a", "b", "c") == ["1", "", "", ""]
        await together(store, put("a"), put("b"))
        assert await values(store, "a", "b") == ["1", "1"]


@pytest.mark.parametrize("asks", [False, True], ids=["seen at the commit", "seen by the next question"])
async def test_a_connection_that_is_lost_fails_the_whole_group(postgres: Postgres, asks: bool) -> None:
    admin = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")

    def cut(tx: Tx) -> None:
        pid = tx.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        tx.after_commit(lambda: pytest.fail("this was not committed"))
        with admin.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 30000)")
        if asks:  # then SQLAlchemy knows, and lets nobody use the connection any more
            tx.connection.exec_driver_sql("SELECT 1")

    with Store.open(postgres.new_database()) as store:
        with pytest.raises(StoreUnavailable):
            await store.write(cut)
        found = await together(store, put("a", callback=lambda: pytest.fail("nor this")), cut)
        assert [type(result) for result in found] == [StoreUnavailable] * 2
        await store.write(put("b"))
        assert await values(store, "a", "b") == ["", "1"]
    admin.dispose()


async def test_a_connection_that_died_between_two_writes_costs_none(postgres: Postgres) -> None:
    admin = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    url = postgres.new_database()
    with Store.open(url) as store:
        for key in "ab":
            await store.write(put(key))
            with admin.connect() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity"
                    " WHERE datname <> 'postgres' AND pid <> pg_backend_pid()"
                )
        await store.write(put("c"))
        assert await values(store, "a", "b", "c") == ["1", "1", "1"]
    admin.dispose()


async def test_a_postgresql_that_is_stopped_and_started_again(postgres: Postgres) -> None:
    def stops(tx: Tx) -> None:
        settings.put(tx, "stopped", "1")
        tx.after_commit(lambda: pytest.fail("this was not committed"))
        postgres.stop()

    with Store.open(postgres.new_database()) as store:
        await store.write(put("a"))
        try:
            found = await together(store, put("lost"), stops, put("later"))
            assert [type(error) for error in found] == [StoreUnavailable] * 3
            with pytest.raises(StoreUnavailable, match="Check that PostgreSQL runs"):
                await store.write(put("b"))
            with pytest.raises(StoreUnavailable, match="Check that PostgreSQL runs"):
                await values(store, "a")
            with pytest.raises(StoreUnavailable), store.transaction():
                pass
        finally:
            postgres.stop()
            postgres.start()
        await store.write(put("b"))
        assert await values(store, "a", "lost", "stopped", "later", "b") == ["1", "", "", "", "1"]


async def test_a_busy_database_fails_all_that_wait_at_once(tmp_path: Path) -> None:
    """Not one after the other: the last of a hundred would hear of it after a quarter of an hour."""
    url = f"sqlite:///{tmp_path / 's.db'}?timeout=1"
    with Store.open(url) as ours, Store.open(url) as theirs:
        with theirs.transaction():
            found = await asyncio.gather(*[ours.write(put("a")) for _ in range(200)], return_exceptions=True)
        assert {type(result) for result in found} == {StoreUnavailable}
        await ours.write(put("a"))


async def test_a_patient_write_waits_for_company_and_not_for_ever(store: Store) -> None:
    begun = time.monotonic()
    ran = await store.write(lambda tx: time.monotonic(), patient=True)
    assert ran - begun >= 0.02


async def test_a_patient_write_goes_along_with_one_that_is_not(store: Store) -> None:
    begun = time.monotonic()
    patient = asyncio.create_task(store.write(lambda tx: (tx.connection, time.monotonic()), patient=True))
    await asyncio.sleep(0)
    connection = await store.write(put("a"))
    its_own, ran = await patient
    assert its_own is connection or ran - begun >= 0.02


async def test_a_closed_store_has_written_what_it_was_given(store_url: str) -> None:
    store = Store.open(store_url)
    writes = [asyncio.create_task(store.write(put(key), patient=True)) for key in "abc"]
    await asyncio.sleep(0)
    await asyncio.to_thread(store.close)
    await asyncio.gather(*writes)
    with pytest.raises(RuntimeError, match="closed"):
        await store.write(put("late"))
    with Store.open(store_url) as again:
        assert await values(again, "a", "b", "c", "late") == ["1", "1", "1", ""]


async def test_long_reads_delay_no_short_one(store: Store) -> None:
    go_on, inside = threading.Event(), threading.Semaphore(0)

    def blocks(_: Tx) -> None:
        inside.release()
        go_on.wait(60)

    long = [asyncio.create_task(store.read(blocks, long=True)) for _ in range(5)]
    short = [asyncio.create_task(store.read(blocks)) for _ in range(2)]
    for _ in range(3):  # one long, two short
        assert await asyncio.to_thread(inside.acquire, timeout=60)
    assert await values(store, "a") == [""]
    go_on.set()
    await asyncio.gather(*long, *short)


async def test_a_read_that_failed_leaves_nothing_to_the_next(store: Store) -> None:
    seen = list[object]()

    def fails(tx: Tx) -> None:
        seen.append(settings.get(tx, "a"))  # its moment is this one
        raise ZeroDivisionError

    for value in ("1", "2", "3"):
        await store.write(partial(settings.put, key="a", value=value))
        for _ in range(4):  # each of the threads that read
            with pytest.raises(ZeroDivisionError):
                await store.read(fails)
    assert seen == [value for value in ("1", "2", "3") for _ in range(4)]


async def test_many_callers_are_told_in_order_and_the_loop_does_other_things_between(store: Store) -> None:
    """200 agents share a commit: told at once, nothing else would have a turn before all of them went on."""
    seen: list[str] = []

    async def others() -> None:
        while True:
            seen.append("-")
            await asyncio.sleep(0)

    keys = [str(number) for number in range(100)]
    other = asyncio.create_task(others())
    await together(store, *(put(key, callback=partial(seen.append, key)) for key in keys))
    other.cancel()
    assert [each for each in seen if each != "-"] == keys
    assert "-" in seen[seen.index("0") : seen.index("99")]
