"""Tasks, sessions, turns and what waits for them, on both databases."""

from __future__ import annotations

import re

import pytest

from fleet.errors import Misused
from fleet.events import Source, TaskMoved, TaskRequested
from fleet.model import ChatRef, Isolation, Session, Task, TaskMode, TaskState, TurnCause
from fleet.store import approvals, inputs, ledger, sessions, tasks
from fleet.store.core import Store, Tx
from fleet.store.inputs import Input
from fleet.store.overview import overview

ORIGIN = ChatRef("console", "7", "top")


def request(tx: Tx, prompt: str = "mend it") -> Task:
    return tasks.create_task(
        tx,
        repo="shop",
        agent="claude",
        machine="",
        prompt=prompt,
        mode=TaskMode.CHANGE,
        requester="console:host:ada",
        origin=ORIGIN,
    )


def begin(tx: Tx, task: str) -> Session:
    return sessions.create_session(
        tx, task=task, machine="evo", agent="claude", base="abc", isolation=Isolation.UNSAFE_SAME_USER
    )


def test_a_task_is_kept_as_it_was_asked_and_the_ledger_knows(store: Store) -> None:
    prompt = "--leading dash, 'quotes' \"both\"\nand a newline; ünïcödé 🛩"
    with store.transaction() as tx:
        made = request(tx, prompt)
        assert tasks.task(tx, "t1") == made
        (event,) = ledger.read(tx)
    assert (made.id, made.prompt, made.state, made.origin) == ("t1", prompt, TaskState.QUEUED, ORIGIN)
    assert made.created_us == event.time_us
    assert event.event == TaskRequested("shop", "claude", "", "change", prompt, "")
    assert (event.actor, event.source, event.refs.task) == ("console:host:ada", Source.PERSON, "t1")


def test_moves_are_told_and_illegal_ones_change_nothing(store: Store) -> None:
    with store.transaction() as tx:
        request(tx)
        moved = tasks.move(tx, "t1", TaskState.PREPARING, "evo is free", "airboss")
        assert (moved.state, moved.why) == (TaskState.PREPARING, "evo is free")
    with pytest.raises(ValueError, match="may not move from preparing to landed"), store.transaction() as tx:
        tasks.move(tx, "t1", TaskState.LANDED, "", "airboss")
    with store.transaction() as tx:
        assert tasks.task(tx, "t1") == moved
        assert ledger.read(tx)[-1].event == TaskMoved("queued", "preparing", "evo is free")


def test_sessions_of_one_moment_are_shown_in_the_order_of_their_tasks(store: Store) -> None:
    with store.transaction() as tx:
        for _ in range(11):
            begin(tx, request(tx).id)
        seen = overview(tx, limit=20, alive_us=60_000_000)
    assert [session.task for session in seen.sessions] == [f"t{number}" for number in range(1, 12)]


def test_a_person_finds_a_task_with_few_keystrokes(store: Store) -> None:
    with store.transaction() as tx:
        for _ in range(12):
            request(tx)
        assert [tasks.find(tx, typed).id for typed in ("t1", "1", " T12 ", "2")] == ["t1", "t1", "t12", "t2"]
        with pytest.raises(Misused, match="The last ones are t12, t11"):
            tasks.find(tx, "t99")
        for nothing in ("", "t", "%", "_"):
            with pytest.raises(Misused):
                tasks.find(tx, nothing)


def test_open_and_recent(store: Store) -> None:
    with store.transaction() as tx:
        for _ in range(3):
            request(tx)
        tasks.move(tx, "t2", TaskState.FAILED, "red", "airboss")
        assert [task.id for task in tasks.open_tasks(tx)] == ["t1", "t3"]
        assert [task.id for task in tasks.recent(tx, 2)] == ["t3", "t2"]


def test_a_task_is_unfinished_until_its_session_is_closed(store: Store) -> None:
    with store.transaction() as tx:
        request(tx)
        request(tx)
        session = sessions.create_session(
            tx, task="t1", machine="m", agent="a", base="b", isolation=Isolation.UNSAFE_SAME_USER
        )
        tasks.move(tx, "t1", TaskState.FAILED, "red", "airboss")
        tasks.move(tx, "t2", TaskState.FAILED, "red", "airboss")
        assert [task.id for task in tasks.unfinished(tx)] == ["t1"]
        sessions.update(tx, session.id, ended_us=1)
        assert tasks.unfinished(tx) == []


def test_a_stop_is_asked_for_once_and_not_of_what_has_ended(store: Store) -> None:
    with store.transaction() as tx:
        request(tx)
        assert not tasks.stop_requested(tx, "t1")
        assert tasks.request_stop(tx, "t1", "console:host:ada")
        assert not tasks.request_stop(tx, "t1", "console:host:bob")
        assert tasks.stopped_by(tx, "t1") == "console:host:ada"
        request(tx)
        tasks.move(tx, "t2", TaskState.STOPPED, "", "airboss")
        assert not tasks.request_stop(tx, "t2", "console:host:bob")


def test_a_tasks_end_withdraws_its_questions(store: Store) -> None:
    with store.transaction() as tx:
        session = begin(tx, request(tx).id)
        approvals.open_hold(tx, session=session, commit="c", tree="t", reason="touches the gate")
        tasks.move(tx, "t1", TaskState.STOPPED, "", "airboss")
        assert approvals.waiting(tx) == []
        assert approvals.hold_decision(tx, "t1") is None


def test_sessions_and_turns_say_whose_they_are(store: Store) -> None:
    with store.transaction() as tx:
        task = request(tx).id
        first, second = begin(tx, task), begin(tx, task)
        turns = [
            sessions.create_turn(tx, second, cause, "words") for cause in (TurnCause.REQUEST, TurnCause.REWORK)
        ]
        assert [first.id, second.id, *(turn.id for turn in turns)] == ["t1.1", "t1.2", "t1.2.1", "t1.2.2"]
        assert first.conversation != second.conversation
        assert sessions.of_task(tx, task) == [first, second] == sessions.active(tx)
        assert sessions.turns(tx, "t1.2") == turns
        assert sessions.busy(tx) == {"evo": 2}
        sessions.update(tx, "t1.1", ended_us=5)
        assert sessions.busy(tx) == {"evo": 1} and [session.id for session in sessions.active(tx)] == ["t1.2"]


def test_what_is_set_once_cannot_be_changed(store: Store) -> None:
    with store.transaction() as tx:
        session = begin(tx, request(tx).id)
        turn = sessions.create_turn(tx, session, TurnCause.REQUEST, "words")
        changed = sessions.update(tx, session.id, workspace="/w", pipe="p1", one_turn=True, spool_offset=2**40)
        assert (changed.workspace, changed.pipe, changed.one_turn, changed.spool_offset) == (
            "/w",
            "p1",
            True,
            2**40,
        )
        assert sessions.update_turn(tx, turn.id, claim="done", ended_us=3).claim == "done"
        with pytest.raises(KeyError):
            sessions.update(tx, "t9.9", pipe="x")


def test_a_new_process_has_its_own_first_turn_and_its_own_input(store: Store) -> None:
    with store.transaction() as tx:
        session = begin(tx, request(tx).id)
        for expected in (1, 2):
            pipe = sessions.next_pipe(tx, session.id)
            assert re.fullmatch(rf"{store.instance}-{session.id}-p{expected}-[0-9a-f]{{16}}", pipe)
            sessions.update(tx, session.id, pipe=pipe)
            first = sessions.create_turn(tx, session, TurnCause.REQUEST, "words")
            sessions.create_turn(tx, session, TurnCause.REWORK, "again")
            assert sessions.first_turn_of_pipe(tx, session.id) == first
            assert inputs.queue(tx, pipe, b"hello") == 0
            assert pipe in sessions.pipes(tx, session.id)


def test_input_is_answered_from_any_byte_and_closed_once(store: Store) -> None:
    with store.transaction() as tx:
        assert [inputs.queue(tx, "p", data) for data in (b"abc", b"\xff\x00", b"de")] == [0, 3, 5]
        assert inputs.queue(tx, "p", b"", eof=True) == 7
        with pytest.raises(ValueError, match="closed"):
            inputs.queue(tx, "p", b"more")
        end = Input(7, b"", True)
        assert inputs.after(tx, "p", 0) == [
            Input(0, b"abc", False),
            Input(3, b"\xff\x00", False),
            Input(5, b"de", False),
            end,
        ]
        assert inputs.after(tx, "p", 4) == [Input(4, b"\x00", False), Input(5, b"de", False), end]
        assert inputs.after(tx, "p", 7) == [end]
        assert inputs.after(tx, "other", 0) == []


def test_words_that_wait_are_given_out_once_and_come_back_after_a_rollback(store: Store) -> None:
    with store.transaction() as tx:
        session = begin(tx, request(tx).id).id
        for words in ("first", "second"):
            sessions.add_note(tx, session, words, "console:host:ada")
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        assert len(sessions.take_notes(tx, session)) == 2
        raise ZeroDivisionError
    with store.transaction() as tx:
        assert [note.text for note in sessions.take_notes(tx, session)] == ["first", "second"]
        assert sessions.take_notes(tx, session) == []
