"""What retention may remove: nothing of an open task, and nothing of work that did not land."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.retention import Retention
from fleet.clock import SystemClock
from fleet.config import parse_fleet
from fleet.errors import Refused
from fleet.events import TreeDecision
from fleet.flight.moves import NoSlot, demand_login
from fleet.model import Isolation, TaskState, TurnCause
from fleet.store import sessions, tables, tasks, trees
from fleet.store.chat import retention
from fleet.store.core import Store, Tx
from fleet.store.states import TreeState
from fleet.store.trees import TreeRow
from tests.chat_house import FLEET
from tests.empty_store import filled
from tests.rows import asked, placed

R, J, L = TaskState.RUNNING, TaskState.JUDGING, TaskState.LANDING
WAYS = {
    "open": (R,),
    "stalled": (R, TaskState.STALLED),
    "failed": (R, TaskState.FAILED),
    "deleted": (R, TaskState.FAILED),
    "landed": (R, J, L, TaskState.LANDED),
}
"""The tasks t1, t2, …, and what each went through; each sent its agent something and had a gate run."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as made:
        with made.transaction() as tx:
            for number, states in enumerate(WAYS.values(), 1):
                _one(tx, f"t{number}", states)
        yield made


def _one(tx: Tx, name: str, states: tuple[TaskState, ...]) -> None:
    asked(tx, prompt="p")
    session = placed(tx, name)
    session = sessions.update(tx, session.id, workspace=f"/w/{name}", pipe=f"p-{name}")
    turn = sessions.create_turn(tx, session, TurnCause.REQUEST, "p")
    sessions.update_turn(tx, turn.id, snapshot="c" * 40, tree="d" * 40)
    tx.connection.execute(
        tables.inputs.insert().values(pipe=f"p-{name}", position=0, data=b"the prompt", eof=False)
    )
    for state in (TaskState.PREPARING, *states):
        tasks.move(tx, name, state, "", "airboss")
    if states[-1] in (TaskState.FAILED, TaskState.LANDED):
        sessions.update(tx, session.id, ended_us=tx.now_us())
    if name == "t4":
        trees.put(tx, TreeRow(session.id, TreeState.DELETED, "phone::ada"))


def test_output_and_input_of_what_is_open_or_did_not_land_stay(store: Store) -> None:
    with store.transaction() as tx:
        assert trees.needed_pipes(tx, "box") == {"p-t1", "p-t2", "p-t3"}
        assert trees.needed_pipes(tx, "elsewhere") == set()
        assert trees.without_work(tx, {"t1", "t2", "t3", "t4", "t5", "t6"}) == {"t4", "t5"}
        assert retention.sent_inputs(tx, 0, age_us=0) == len(WAYS)
        left = tx.connection.execute(select(tables.inputs.c.pipe)).scalars().all()
        assert sorted(left) == ["p-t1", "p-t2", "p-t3"]


def test_the_list_has_what_did_not_land_and_only_an_ended_tasks_work_is_deleted(store: Store) -> None:
    with store.transaction() as tx:
        assert [tree.task.id for tree in trees.unlanded(tx)] == ["t3", "t2"] and trees.count(tx) == 2
        stalled, failed = (trees.of_task(tx, tasks.task(tx, name)) for name in ("t2", "t3"))
        for decision in (TreeDecision.DELETE, TreeDecision.RECLAIM):
            with pytest.raises(Refused, match="/stop t2"):
                trees.decide(tx, stalled, decision, "phone::ada")
        trees.decide(tx, failed, TreeDecision.DELETE, "phone::ada")
        with pytest.raises(Refused, match="it is deleting already"):
            trees.decide(tx, failed, TreeDecision.DELETE, "phone::ada")
        assert [tree.task.id for tree in trees.going(tx)] == ["t3"]
        trees.settle(tx, failed)
        trees.settle(tx, failed)
        assert [tree.task.id for tree in trees.unlanded(tx)] == ["t2"]
        with pytest.raises(Refused, match="there is none"):
            trees.of_task(tx, tasks.task(tx, "t3"))


def test_only_closed_sessions_of_ended_tasks_are_looked_at(store: Store) -> None:
    with store.transaction() as tx:
        later = tx.now_us() + 1
        assert [tree.task.id for tree in trees.closed_worktrees(tx, later)] == ["t3"]
        assert trees.closed_worktrees(tx, later, "elsewhere") == trees.closed_worktrees(tx, 1) == []


def test_a_task_that_goes_on_never_meets_another_in_its_login(store: Store) -> None:
    with store.transaction() as tx:
        mine, later = (
            sessions.create_session(
                tx, task=task, machine="pool", agent="demo", base="b" * 40,
                isolation=Isolation.SEPARATE_LOGINS, login="agent1",
            )
            for task in ("t3", "t1")
        )  # fmt: skip
        earlier = replace(mine, started_us=later.started_us - 1)
        with pytest.raises(NoSlot, match="t1 has its login agent1"):
            demand_login(tx, earlier)
        demand_login(tx, later)  # it does not wait for the one that waits for it
        sessions.update(tx, later.id, ended_us=tx.now_us())
        demand_login(tx, earlier)


async def test_old_output_of_gates_goes_unless_its_work_did_not_land(store: Store, tmp_path: Path) -> None:
    def runs(tx: Tx) -> None:
        empty = {column.name: 0 if column.type.python_type is int else "" for column in tables.gate_runs.columns}
        for name in ("t1", "t3", "t5"):
            row = {**empty, "id": f"{name}.1.1-tests", "task": name}
            tx.connection.execute(tables.gate_runs.insert().values(**row))

    await store.write(runs)
    gates = tmp_path / "gates"
    (gates / "baselines" / "x").mkdir(parents=True)
    names = [
        "t1.1.1-tests.log",
        "t3.1.1-tests.log",
        "t5.1.1-tests.log",
        "t5.1.1-ai.review.json",
        "baselines/x/1.json",
    ]
    for name in [*names, "young.log"]:
        (gates / name).write_text("output")
        if name != "young.log":
            os.utime(gates / name, (1, 1))
    config = parse_fleet(FLEET, "fleet.toml")
    await Retention(store, lambda: config, SystemClock(), tmp_path).prune()
    left = sorted(str(path.relative_to(gates)) for path in gates.rglob("*") if path.is_file())
    assert left == ["t1.1.1-tests.log", "t3.1.1-tests.log", "t5.1.1-ai.review.json", "young.log"]
