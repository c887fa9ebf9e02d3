"""Transactions, clocks and errors of the store, on both databases."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from fleet.errors import Misused, StoreUnavailable
from fleet.store import databases, migrations, tables
from fleet.store.chat import settings
from fleet.store.core import Beforehand, Store, Tx

ROOT = Path(__file__).resolve().parents[2]


def read(store: Store, key: str) -> str:
    with store.transaction() as tx:
        return settings.get(tx, key)


async def test_a_write_commits_and_a_failed_one_leaves_nothing(store: Store) -> None:
    await store.write(lambda tx: settings.put(tx, "a", "1"))

    def fails(tx: Tx) -> None:
        settings.put(tx, "a", "2")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(fails)
    assert await store.read(lambda tx: settings.get(tx, "a")) == "1"


async def test_callbacks_run_on_the_loop_after_the_commit_and_only_then(store: Store) -> None:
    seen: list[tuple[str, int]] = []

    def work(tx: Tx) -> None:
        settings.put(tx, "a", "1")
        tx.after_commit(lambda: seen.append((read(store, "a"), threading.get_ident())))

    await store.write(work)
    assert seen == [("1", threading.get_ident())]

    def fails(tx: Tx) -> None:
        tx.after_commit(lambda: seen.append(("never", 0)))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(fails)
    await asyncio.sleep(0)
    assert len(seen) == 1


async def test_a_caller_that_is_cancelled_does_not_undo_its_write(store: Store) -> None:
    inside, go_on, committed = threading.Event(), threading.Event(), asyncio.Event()

    def work(tx: Tx) -> None:
        settings.put(tx, "a", "1")
        tx.after_commit(committed.set)
        inside.set()
        go_on.wait(60)

    writing = asyncio.create_task(store.write(work))
    await asyncio.to_thread(inside.wait, 30)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    go_on.set()
    async with asyncio.timeout(60):
        await committed.wait()
    assert read(store, "a") == "1"


async def test_a_reader_neither_waits_for_a_writer_nor_sees_half_of_it(store: Store) -> None:
    with store.transaction() as tx:
        settings.put(tx, "a", "half")
        assert await asyncio.wait_for(store.read(lambda tx: settings.get(tx, "a")), 60) == ""


async def test_a_reader_sees_one_moment(store: Store) -> None:
    def looks_twice(tx: Tx) -> tuple[str, str]:
        first = settings.get(tx, "a")
        with store.transaction() as other:
            settings.put(other, "a", "later")
        return first, settings.get(tx, "a")

    assert await store.read(looks_twice) == ("", "")


async def test_writing_in_a_read_is_a_bug_and_not_an_excuse(store: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)read.?only") as caught:
        await store.read(lambda tx: settings.put(tx, "a", "1"))
    assert not isinstance(caught.value, StoreUnavailable)


def test_a_transaction_inside_a_transaction_is_refused_at_once(store: Store) -> None:
    with store.transaction(), pytest.raises(RuntimeError, match="already open"), store.transaction():
        pass


async def test_read_then_update_from_many_threads_loses_nothing(store: Store) -> None:
    def count(tx: Tx) -> None:
        settings.put(tx, "n", str(int(settings.get(tx, "n", "0")) + 1))

    def by_hand() -> None:
        for _ in range(25):
            with store.transaction() as tx:
                count(tx)

    threads = [asyncio.to_thread(by_hand) for _ in range(3)]
    await asyncio.gather(*threads, *(store.write(count) for _ in range(25)))
    assert read(store, "n") == "100"


def test_the_stores_clock_is_in_microseconds_and_one_reading_holds_for_a_transaction(store: Store) -> None:
    before = time.time_ns() // 1000
    with store.transaction() as tx:
        first = tx.now_us()
        assert before - 2_000 <= first <= time.time_ns() // 1000 + 2_000
        while time.time_ns() // 1000 < first + 3_000:
            pass
        assert tx.now_us() == first
    with store.transaction() as tx:
        assert tx.now_us() > first


def test_processes_that_open_a_new_store_together_make_one(store_url: str) -> None:
    ask = [sys.executable, "-m", "tests.contracts.store_processes", "opened", store_url]
    openers = [subprocess.Popen(ask, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    said = {opener.communicate(timeout=60)[0].decode().strip() for opener in openers}
    assert [opener.returncode for opener in openers] == [0, 0, 0]
    with Store.open(store_url) as store:
        assert said == {store.instance}
        assert len(store.instance) == 8


def test_first_openers_of_a_file_take_turns(tmp_path: Path) -> None:
    """The switch to WAL fails at once when two do it together; without the turns, one round in four here does."""
    together, failed = threading.Barrier(6), list[BaseException]()

    def connect(url: str) -> None:
        database = databases.connect(url, create=True)
        together.wait(60)
        try:
            with database.writer.begin():
                pass
        except Exception as error:
            failed.append(error)
        database.dispose()

    for turn in range(25):
        openers = [threading.Thread(target=connect, args=(f"sqlite:///{tmp_path / str(turn)}",)) for _ in range(6)]
        for opener in openers:
            opener.start()
        for opener in openers:
            opener.join()
    assert failed == []


def test_models_and_migrations_agree(store_url: str) -> None:
    """From the first migration on, whatever the newest is."""
    Store.open(store_url).close()
    engine = create_engine(store_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert context.get_current_revision() == migrations.HEAD
    engine.dispose()


def test_a_store_of_the_first_version_is_brought_up(store_url: str) -> None:
    if store_url.startswith("sqlite"):
        engine = create_engine(store_url, isolation_level="AUTOCOMMIT")
    else:
        engine = create_engine(store_url)
    config = Config()
    config.set_main_option("script_location", str(ROOT / "fleet/store/migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with Store.open(store_url) as store, store.transaction() as tx:
        context = MigrationContext.configure(tx.connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_a_store_that_a_newer_version_wrote_is_left_alone(store_url: str) -> None:
    with Store.open(store_url) as store, store.transaction() as tx:
        tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Misused, match=r"newer version wrote it \(schema 9999.*Update Airboss"):
        Store.open(store_url)


WRONG = {
    "no URL": ("what is this", "cannot be read"),
    "another database": ("mysql://me:hunter2@host/db", "no support for 'mysql'"),
    "another driver": ("postgresql+asyncpg://me:hunter2@host/db", "no support"),
    "memory": ("sqlite://", "a file on disk"),
}


@pytest.mark.parametrize(("url", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_url_is_told_with_the_right_ones(url: str, said: str) -> None:
    with pytest.raises(Misused, match=said) as caught:
        Store.open(url)
    assert "sqlite:////absolute/path" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_files_are_the_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "airboss.db"
    file.parent.mkdir()
    file.touch(0o644)
    with Store.open(f"sqlite:///{file}") as store:
        with store.transaction() as tx:
            settings.put(tx, "a", "1")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {"airboss.db": 0o600, "airboss.db-wal": 0o600, "airboss.db-shm": 0o600}


def test_what_sqlite_is_asked_for(tmp_path: Path) -> None:
    """An acknowledged commit survives a power cut: only FULL syncs the log at each commit."""
    with Store.open(f"sqlite:///{tmp_path / 's.db'}") as store, store.transaction() as tx:
        found = {
            name: tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_store_that_is_not_there_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(Misused, match=r"does not exist.*airboss serve"):
        Store.open(f"sqlite:///{tmp_path / 'none.db'}", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(b"dear diary, " * 1000)
    with pytest.raises(StoreUnavailable, match=r"not a database.*restore it from a backup"):
        Store.open(f"sqlite:///{file}")
    assert file.read_bytes().startswith(b"dear diary")


def test_a_damaged_database(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    with Store.open(f"sqlite:///{file}") as store, store.transaction() as tx:
        for n in range(400):
            settings.put(tx, f"key {n}", "x" * 100)
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(os.urandom(file.stat().st_size - 4096))
    with pytest.raises(StoreUnavailable, match=r"malformed.*backup"), Store.open(f"sqlite:///{file}") as store:
        read(store, "key 1")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("directory", "a file in a directory"),
        ("file/airboss.db", "there is no directory"),
        ("not-mounted/airboss.db", r"there is no directory .*/not-mounted\b.*mount its disk"),
    ],
)
def test_a_path_that_cannot_hold_a_store(tmp_path: Path, path: str, said: str) -> None:
    """An empty one that is begun where the disk of the full one is missing would be a fleet without its past."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=said):
        Store.open(f"sqlite:///{tmp_path / path}")
    assert {place.name for place in tmp_path.iterdir()} == {"directory", "file"}


def test_a_full_disk_is_said_and_the_store_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 's.db'}") as store:
        with store.transaction() as tx:
            pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StoreUnavailable, match=r"full.*Free some space"), store.transaction() as tx:
            settings.put(tx, "a", "x" * 100_000)
        with store.transaction() as tx:
            tx.connection.exec_driver_sql("PRAGMA max_page_count=100000")
        with store.transaction() as tx:
            assert settings.get(tx, "a") == ""
            settings.put(tx, "a", "fits")
        assert read(store, "a") == "fits"


def test_another_process_that_does_not_stop_writing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}?timeout=0.05"
    with (
        Store.open(url) as ours,
        Store.open(url) as theirs,
        theirs.transaction(),
        pytest.raises(StoreUnavailable, match=r"locked.*second controller"),
        ours.transaction(),
    ):
        pass


def test_the_package_costs_nothing_until_it_is_used() -> None:
    ask = "import sys, fleet.store, fleet.model; print([m for m in sys.modules if m in ('sqlalchemy', 'alembic')])"
    said = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, check=True)
    assert said.stdout == b"[]\n"


def test_a_store_that_is_up_to_date_opens_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    Store.open(url).close()
    use = f"import sys; from fleet.store.core import Store; Store.open({url!r}).close()"
    ask = f"{use}; print('alembic' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, check=True)
    assert said.stdout == b"False\n"


async def test_what_a_write_needs_beforehand_is_done_outside_of_every_transaction(store: Store) -> None:
    done: list[bool] = []

    def beforehand() -> None:
        with store.transaction() as tx:  # would wait for ever inside one
            done.append(settings.get(tx, "a") == "")

    def work(tx: Tx) -> str:
        settings.put(tx, "a", "1")
        if not done:
            raise Beforehand(beforehand)
        return "written"

    assert await store.write(work) == "written"
    assert done == [True], "once, with nothing left of the first try"
    assert read(store, "a") == "1"


async def test_a_write_that_cannot_have_what_it_needs_beforehand_says_why(store: Store) -> None:
    def beforehand() -> None:
        raise ZeroDivisionError

    def work(tx: Tx) -> None:
        settings.put(tx, "a", "1")
        raise Beforehand(beforehand)

    with pytest.raises(ZeroDivisionError):
        await store.write(work)

    def for_ever(tx: Tx) -> None:
        raise Beforehand(lambda: None)

    with pytest.raises(RuntimeError, match="100 times"):
        await store.write(for_ever)
    assert read(store, "a") == ""
