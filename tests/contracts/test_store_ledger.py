"""The ledger on both databases: dense, append-only, and its bytes are what was hashed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import DBAPIError

from fleet.errors import Malformed
from fleet.events import AgentSaid, PipeEnded, Refs, Source, TaskMoved, UnknownEvent, leaf_hash
from fleet.exits import Exited, Lost
from fleet.store import ledger, tables, tree
from fleet.store.chat import settings
from fleet.store.core import Store
from fleet.store.ledger import Entry

ROOT = Path(__file__).resolve().parents[2]


def say(store: Store, *words: str) -> None:
    with store.transaction() as tx:
        ledger.append_all(tx, [Entry(AgentSaid(word), "agent:a", Source.AGENT, Refs(task="t1")) for word in words])


def test_what_was_appended_is_read_back_whole(store: Store) -> None:
    refs = Refs(task="t1", session="t1.1", turn="t1.1.1", gate_run="t1.1.1-tests", machine="evo")
    event = PipeEnded(pipe="p", exit=Exited(3), raw_wait_status=None, gone=True, spool_bytes=2**50)
    with store.transaction() as tx:
        made = ledger.append(tx, event, actor="airboss", source=Source.SUPERVISOR, refs=refs)
    with store.transaction() as tx:
        assert ledger.read(tx) == [made]
    assert made.event == event and made.refs == refs and made.seq == 1
    assert made.leaf == leaf_hash(made.canonical)
    assert json.loads(made.canonical)["body"]["spool_bytes"] == 2**50


def test_writers_in_several_processes_leave_no_gap_and_lose_no_update(store: Store, store_url: str) -> None:
    command = [sys.executable, "-m", "tests.contracts.store_processes", "append", store_url]
    pipe = subprocess.PIPE
    writers = [subprocess.Popen([*command, f"w{n}", "40"], cwd=ROOT, stdin=pipe, stdout=pipe) for n in range(3)]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    with store.transaction() as tx:
        found = ledger.read(tx)
        assert [entry.seq for entry in found] == list(range(1, 121))
        assert [entry.leaf for entry in found] == tree.leaves(tx, 0, 120)
        assert len({entry.id for entry in found}) == 120
        assert settings.get(tx, "count") == "120"


def test_a_rolled_back_event_leaves_no_hole(store: Store) -> None:
    say(store, "one")
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        ledger.append(tx, AgentSaid("never"), actor="a", source=Source.AGENT)
        raise ZeroDivisionError
    say(store, "two")
    with store.transaction() as tx:
        assert [(entry.seq, entry.event) for entry in ledger.read(tx)] == [
            (1, AgentSaid("one")),
            (2, AgentSaid("two")),
        ]


STATEMENTS = {
    "update": "UPDATE ledger SET actor = 'me' WHERE seq = 1",
    "delete": "DELETE FROM ledger WHERE seq = 2",
    "delete of all": "DELETE FROM ledger",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_the_database_refuses_to_change_a_row(store: Store, statement: str) -> None:
    say(store, "one", "two")
    with pytest.raises(DBAPIError, match="append-only"), store.transaction() as tx:
        tx.connection.exec_driver_sql(statement)
    with store.transaction() as tx:
        assert ledger.size(tx) == 2


@pytest.mark.parametrize("seq", [1, 2, 4])
def test_the_database_refuses_a_row_out_of_sequence(store: Store, seq: int) -> None:
    say(store, "one", "two")
    with store.transaction() as tx:
        row = dict(tx.connection.execute(tables.ledger.select().limit(1)).mappings().one())
    with pytest.raises(DBAPIError, match="no gaps"), store.transaction() as tx:
        tx.connection.execute(insert(tables.ledger), {**row, "seq": seq})


def test_the_database_refuses_its_own_ways_around_a_delete(store: Store) -> None:
    """SQLite's REPLACE removes rows without a delete trigger, PostgreSQL's TRUNCATE without a row trigger."""
    say(store, "one")
    with pytest.raises(DBAPIError, match="append-only"), store.transaction() as tx:
        if tx.connection.dialect.name == "sqlite":
            tx.connection.exec_driver_sql("REPLACE INTO ledger SELECT * FROM ledger WHERE seq = 1")
        else:
            tx.connection.exec_driver_sql("TRUNCATE ledger")


def _without_triggers(store: Store, values: dict[str, object]) -> None:
    with store.transaction() as tx:
        if tx.connection.dialect.name == "sqlite":
            tx.connection.exec_driver_sql("DROP TRIGGER ledger_no_update")
        else:
            tx.connection.exec_driver_sql("ALTER TABLE ledger DISABLE TRIGGER ALL")
        tx.connection.execute(update(tables.ledger).where(tables.ledger.c.seq == 2), values)


def test_bytes_that_somebody_changed_are_found_at_the_read(store: Store) -> None:
    say(store, "one", "two", "three")
    with store.transaction() as tx:
        forged = ledger.read(tx)[1].canonical.replace(b'"two"', b'"TWO"')
    _without_triggers(store, {"canonical": forged})
    with store.transaction() as tx:
        assert len(ledger.read(tx, limit=1)) == 1
        with pytest.raises(Malformed, match="event 2"):
            ledger.read(tx)


def test_another_rows_bytes_are_found_at_the_read(store: Store) -> None:
    say(store, "one", "two")
    with store.transaction() as tx:
        first = ledger.read(tx)[0]
    _without_triggers(store, {"canonical": first.canonical, "leaf": first.leaf})
    with store.transaction() as tx, pytest.raises(Malformed, match="those of event 1"):
        ledger.read(tx)


def test_a_row_from_the_future_is_kept(store: Store) -> None:
    later = UnknownEvent("weather.seen", 7, {"sky": "grey", "deep": [1, {"a": None}]})
    grown = UnknownEvent("task.moved", 1, {"old": "a", "new": "b", "why": "c", "mood": "good"})
    with store.transaction() as tx:
        for event in (later, grown):
            ledger.append(tx, event, actor="x", source=Source.CONTROLLER)
        assert [entry.event for entry in ledger.read(tx)] == [later, grown]


def test_a_float_is_refused_and_nothing_is_written(store: Store) -> None:
    with pytest.raises(Malformed, match="float"), store.transaction() as tx:
        ledger.append(tx, UnknownEvent("x", 1, {"deep": [{"n": 0.5}]}), actor="x", source=Source.AGENT)
    with store.transaction() as tx:
        assert ledger.size(tx) == 0


def test_secrets_never_reach_the_ledger(store_url: str) -> None:
    with Store.open(store_url, redact=lambda text: text.replace("hunter2", "•••")) as store:
        event = PipeEnded("p", Lost("said hunter2"), 0, True, 1)
        deep = UnknownEvent("x", 1, {"deep": [{"more": "hunter2!"}]})
        with store.transaction() as tx:
            moved = ledger.append(tx, TaskMoved("a", "b", "hunter2"), actor="x", source=Source.AGENT)
            ledger.append(tx, event, actor="x", source=Source.AGENT)
            ledger.append(tx, deep, actor="x", source=Source.AGENT)
            first, second, third = ledger.read(tx)
    assert first == moved and first.event == TaskMoved("a", "b", "•••")
    assert second.event == PipeEnded("p", Lost("said •••"), 0, True, 1)
    assert third.event == UnknownEvent("x", 1, {"deep": [{"more": "•••!"}]})
    assert b"hunter2" not in first.canonical + second.canonical + third.canonical
    assert first.leaf == leaf_hash(first.canonical)


def test_pages_kinds_and_tasks(store: Store) -> None:
    say(store, "one", "two", "three")
    with store.transaction() as tx:
        ledger.append(tx, TaskMoved("a", "b", ""), actor="x", source=Source.CONTROLLER, refs=Refs(task="t2"))
        assert [entry.seq for entry in ledger.read(tx, after=1, limit=2)] == [2, 3]
        assert [entry.seq for entry in ledger.read(tx, kinds=("task.moved",))] == [4]
        assert [entry.seq for entry in ledger.read(tx, task="t1")] == [1, 2, 3]
        assert tree.leaves(tx, 0, 2) == [entry.leaf for entry in ledger.read(tx, limit=2)]
        with pytest.raises(ValueError, match="has 4"):
            tree.leaves(tx, 0, 5)


def test_an_observer_sees_every_event_inside_its_transaction(store: Store) -> None:
    store.observe(lambda tx, recorded: settings.put(tx, "seen", f"{settings.get(tx, 'seen')}{recorded.seq}"))
    say(store, "one", "two")
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        ledger.append(tx, AgentSaid("never"), actor="a", source=Source.AGENT)
        assert settings.get(tx, "seen") == "123"
        raise ZeroDivisionError
    with store.transaction() as tx:
        assert settings.get(tx, "seen") == "12"
