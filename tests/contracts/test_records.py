"""What a judgement writes down and looks up is the same in a controller's store and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.config import FleetConfig, GateConfig
from fleet.model import ChatRef, Isolation, TaskMode, TurnCause
from fleet.ports import Candidate
from fleet.store import sessions, tasks
from fleet.store.core import Store, Tx
from fleet.verdict import GateResult, Outcome, Verdict
from gates.records import Opening, Records
from gates.remembered import RememberedRecords
from gates.runs.definitions import define
from gates.stored import StoredRecords
from gates.witness.opening import Openings
from tests.empty_store import filled


@pytest.fixture(name="store")
def fresh_store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{filled(tmp_path / 'airboss.db')}") as store:
        yield store


async def of_session(store: Store) -> Candidate:
    def begin(tx: Tx) -> Candidate:
        task = tasks.create_task(
            tx, repo="demo", agent="", machine="here", prompt="mend it", mode=TaskMode.CHANGE,
            requester="local::ada", origin=ChatRef("console", ""),
        )  # fmt: skip
        session = sessions.create_session(
            tx, task=task.id, machine="here", agent="", base="b" * 40, isolation=Isolation.UNSAFE_SAME_USER
        )
        turn = sessions.create_turn(tx, session, TurnCause.REQUEST, "")
        return Candidate(task, session, turn, "c" * 40, "d" * 40, "b" * 40, round=1)

    return await store.write(begin)


async def played(records: Records, candidate: Candidate, pipe: str) -> list[object]:
    """A judgement with a gate that runs twice, and one whose name looks like its second run."""
    known: list[object] = []
    ids = []
    for gate in ("tests-2", "tests", "tests"):
        definition = define(gate, GateConfig(run=["true"]))
        ids.append(await records.open_run(Opening(candidate, definition, "here", "n", pipe, "gate1", "boss")))
        known += [ids[-1], await records.open_logins("here"), await records.open_logins("there")]
        await records.opened(ids[-1])
    for run_id in ids[1:]:
        result = GateResult(run_id, "tests", ("true",), Outcome.PASSED, "exit status 0", None, None, "")
        await records.close_run(run_id, result)
        await records.closed(run_id, candidate.task.id)
        with pytest.raises(ValueError, match="already closed"):
            await records.close_run(run_id, result)
    known += [
        [replace(each, opened_us=0, closed_us=0) for each in found]
        for found in (
            await records.runs(candidate.commit, 1),
            await records.runs(candidate.commit, 2),
            await records.runs("e" * 40, 1),
            await records.runs_of_task(candidate.task.id),
            await records.runs_of_task("t2"),
        )
    ]
    verdict = Verdict(
        candidate.commit, candidate.tree, candidate.base, Outcome.PASSED, (), (), Isolation.UNSAFE_SAME_USER, 0
    )
    await records.give(candidate, verdict)
    await records.ask_for_setups(candidate, ())
    known += [
        await records.open_logins("here"),
        await records.overrides(candidate.task.id, candidate.tree),
        await records.releases(candidate.task.id, {"tests": "1"}),
        await records.setups_released("demo"),
        await records.secrets_released("demo"),
        await records.agent_gone(candidate.session),
        records.redact,
    ]
    async with records.alone("a login"):
        return known


async def test_both_say_the_same(store: Store, tmp_path: Path) -> None:
    candidate = await of_session(store)
    openings = Openings.of(store, FleetConfig, tmp_path)
    stored = await played(StoredRecords(store, openings), candidate, "p1")
    assert await played(RememberedRecords(), candidate, "p1") == stored
    ids = [each for each in stored if isinstance(each, str)]
    assert ids == ["t1.1.1-tests-2", "t1.1.1-tests", "t1.1.1-tests-3"]
    begun = replace(candidate.session, pipe="p1")
    assert not await RememberedRecords().agent_gone(begun)
