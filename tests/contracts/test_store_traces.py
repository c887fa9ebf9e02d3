"""Which names that were seen outside a store knows, on both databases."""

from __future__ import annotations

import pytest

from fleet.model import ChatRef, Isolation, PipeEnd, TaskMode, TaskState, TurnCause
from fleet.store import sessions, takeovers, tasks, traces
from fleet.store.core import Store, Tx
from fleet.store.states import AfterHand
from fleet.store.traces import FARTHEST, Trace


def begin(tx: Tx) -> tuple[str, str]:
    """A task with one process; the names of its worktree and its pipe."""
    task = tasks.create_task(
        tx, repo="shop", agent="a", machine="", prompt="words", mode=TaskMode.CHANGE, requester="console:h:me",
        origin=ChatRef("console", "main"),
    )  # fmt: skip
    session = sessions.create_session(
        tx, task=task.id, machine="m", agent="a", base="0" * 40, isolation=Isolation.UNSAFE_SAME_USER
    )
    pipe = sessions.next_pipe(tx, session.id)
    sessions.create_turn(tx, sessions.update(tx, session.id, pipe=pipe), TurnCause.REQUEST, "words")
    return session.outside(tx.store.instance), pipe


def test_what_the_store_made_is_known_and_everything_else_of_its_name_is_not(store: Store) -> None:
    with store.transaction() as tx:
        work, pipe = begin(tx)
        other = "0" * 16
        ours = store.instance
        unknown = [
            f"{ours}-t1.1-{other}",
            f"{ours}-t1.1-p1-{other}",
            f"{ours}-t1.1-p2-{other}",
            f"{ours}-t1.1-p1",
            f"{ours}-t2.1-{other}",
            f"{ours}-t1.2-p1",
            f"{ours}-gate-{other}",
        ]
        strange = [f"{ours}-notes", f"{ours}-t0.1", ours, f"{ours}-t1", "x" * 300]
        seen = [Trace(name, "on m") for name in (work, pipe, *unknown, *strange)]
        assert [trace.name for trace in traces.unknown(tx, seen)] == unknown
        landed = Trace(work, "on main", commit="1" * 40)
        receipt = Trace("t1", "its receipt", receipt=True)
        assert traces.unknown(tx, [landed, receipt]) == [landed, receipt], "the store knows of no landing"


def test_the_process_of_work_by_hand_is_known(store: Store) -> None:
    with store.transaction() as tx:
        begin(tx)
        moved = (TaskState.PREPARING, TaskState.RUNNING, TaskState.STALLED)
        for state in moved:
            tasks.move(tx, "t1", state, "", "me")
        sessions.update(tx, "t1.1", resume="r", workspace="/w", pipe_end=PipeEnd.GONE)
        taken = takeovers.take(tx, tasks.task(tx, "t1"), by="me", name="me", terminal="xterm", then=AfterHand.GO)
        pipe = sessions.next_pipe(tx, "t1.1")
        takeovers.starting(tx, taken, pipe, "nonce")
        assert traces.unknown(tx, [Trace(pipe, "on m")]) == []


def test_numbers_go_on_above_what_was_lost_and_what_was_acknowledged_stays_so(store: Store) -> None:
    with store.transaction() as tx:
        begin(tx)
        lost = [Trace(f"{store.instance}-t{number}.1-p1", "on m") for number in (7, 3, 1 + FARTHEST + 1)]
        assert traces.unknown(tx, lost) == lost
        traces.acknowledge(tx, lost[:2])
        assert traces.unknown(tx, lost) == lost[2:]
        traces.acknowledge(tx, lost[2:])
        assert traces.unknown(tx, lost) == []
        assert tasks.last_number(tx) in (7, 1 + FARTHEST + 1)
        assert begin(tx)[0].split("-")[1] in ("t8.1", f"t{FARTHEST + 3}.1")


@pytest.mark.parametrize("times", [2])
def test_the_same_numbers_never_give_the_same_names(store: Store, times: int) -> None:
    names: list[str] = []
    for _ in range(times):
        with pytest.raises(RuntimeError), store.transaction() as tx:
            names += begin(tx)
            raise RuntimeError  # as a restore does: the store forgets it
    assert len(set(names)) == 2 * times
