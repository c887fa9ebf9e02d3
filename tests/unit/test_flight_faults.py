"""A flight whose store fails at each read and each commit in turn: the ledger says the same as undisturbed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from fleet.agent_events import TurnOutcome
from fleet.faults import Fault, Point, injected
from fleet.model import Task, TaskMode, TaskState
from fleet.store import landings, sessions, tables
from fleet.store.landings import IntentOutcome
from tests.conftest import sampled
from tests.far_end.repositories import git, make_bare
from tests.flying import World, world

Told = list[tuple[str, dict[str, Any]]]
Played = Callable[[World, "Fly"], Awaitable[None]]
Fly = Callable[[Task], Awaitable[object]]


async def _question(there: World, fly: Fly) -> None:
    """An agent that asks before it acts, is told yes, and answers."""
    task = await there.running(TaskMode.ASK)
    await fly(task)
    assert (await there.now(task)).state is TaskState.ANSWERED
    answers = [message for message in there.machine.heard if message["type"] == "control_response"]
    assert len(answers) == 1, "the agent hears the answer once"
    assert len(there.machine.started) == 1


async def _late_answer(there: World, fly: Fly) -> None:
    """An agent whose question gives its slot back, is answered later, and is asked again in a new process."""
    there.late = True
    limits = there.config.limits.model_copy(update={"question_seconds": 0})
    there.config = there.config.model_copy(update={"limits": limits})
    task = await there.running(TaskMode.ASK)
    await fly(task)
    assert (await there.now(task)).state is TaskState.ANSWERED
    assert len(there.machine.started) == 2
    (told,) = [str(message) for message in there.machine.heard if "exactly this call again" in str(message)]
    assert '"command":"ls"' in told
    turns = await there.store.read(lambda tx: sessions.turns(tx, f"{task.id}.1"))
    assert [turn.outcome for turn in turns] == [TurnOutcome.ASKED, TurnOutcome.COMPLETED]
    asked = await there.store.read(lambda tx: tx.connection.execute(select(tables.approvals)).all())
    assert [(row.decision, bool(row.taken_us), row.kept_us) for row in asked] == [("allow", True, 0)], "asked once"


async def _approved(there: World) -> tuple[Task, str]:
    """A held change that a person approved, and its commit."""
    base = await there.repository.fetch()
    tree = git(there.repository.mirror, "rev-parse", f"{base}^{{tree}}")
    return await there.released(tree, base)


async def _landing(there: World, fly: Fly) -> None:
    """A held change that a person approved, and that lands."""
    task, commit = await _approved(there)
    await fly(task)
    assert (await there.now(task)).state is TaskState.LANDED
    assert git(there.repository.path or "", "rev-parse", "main") == commit
    intents = await there.store.read(lambda tx: landings.of_task(tx, task.id))
    assert [intent.outcome for intent in intents] == [IntentOutcome.DONE]
    assert there.receipts


async def _played(directory: Path, play: Played, fault: Fault | None) -> tuple[Told, int]:
    """The ledger after a play, and how often the fault struck."""
    there = world(directory, str(make_bare(directory / "shop.git", {"a.txt": "one\n"})))
    struck = 0

    async def fly(task: Task) -> None:
        nonlocal struck
        if fault is None:
            await there.fly(task)
            return
        with injected(fault) as counted:
            await there.fly(task)
        struck = counted.raised

    with there.store:
        await play(there, fly)
        return await there.told(), struck


async def test_a_machine_that_fails_at_each_call_in_turn_costs_nothing(tmp_path: Path) -> None:
    """That it was out of reach is told; everything else is as undisturbed."""
    expected, _ = await _played(tmp_path / "0", _question, None)
    for visit in range(1, 100):
        fault = Fault(Point.MACHINE_CALL, first=visit)
        told, struck = await _played(tmp_path / str(visit), _question, fault)
        told = [(kind, body) for kind, body in told if kind != "link.changed"]
        if visit > 1 and told[-1][1].get("why", "").startswith("left behind"):
            told[-1] = expected[-1]  # closing a session does not wait for its machine; it says so
        assert told == expected, f"visit {visit}"
        if not struck:
            break
    assert 5 < visit < 99


@pytest.mark.parametrize("play", [*sampled([_question, _late_answer], 1), _landing])
@pytest.mark.parametrize("point", [Point.STORE_READ, *sampled([Point.STORE_COMMIT, Point.STORE_ANSWER], 1)])
@pytest.mark.parametrize("times", sampled([1, 3], 1))
async def test_the_ledger_is_the_undisturbed_one(tmp_path: Path, play: Played, point: Point, times: int) -> None:
    expected, _ = await _played(tmp_path / "0", play, None)
    for visit in range(1, 100, times):
        told, struck = await _played(tmp_path / str(visit), play, Fault(point, first=visit, times=times))
        assert told == expected, f"visit {visit}"
        if not struck:
            break
    assert 5 < visit < 99


async def test_a_landed_change_waits_for_the_disk_that_its_receipt_needs(tmp_path: Path) -> None:
    there = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    with there.store:
        task, commit = await _approved(there)
        there.full = 5  # more often than a step is tried again for other reasons
        await there.fly(task)
        assert (await there.now(task)).state is TaskState.LANDED
        assert there.receipts == [task.id]
        assert git(there.repository.path or "", "rev-parse", "main") == commit
        assert (await there.kinds()).count("landing.done") == 1
