"""Gate runs: recorded in the ledger before the gate starts, closed with what was seen of it.

Ids are ``TURN-GATE``, for example ``t1.1.1-tests``, and ``t1.1.1-tests-2`` when the same gate runs again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import bindparam, func, insert, select, update

from fleet.events import GateClosedV6, GateOpened, GateWitnessed, Refs, Source
from fleet.gate_runs import GateRun
from fleet.isolation import UNWALLED
from fleet.limits import words_for
from fleet.model import AIRBOSS
from fleet.ports import Candidate
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.store.records import reader
from fleet.store.statements import Statement
from fleet.store.tables import gate_runs, tasks
from fleet.verdict import GateResult, Outcome

_BY_ID = Statement(select(gate_runs).where(gate_runs.c.id == bindparam("wanted")))
_OPEN = Statement(insert(gate_runs))
_CLOSE = Statement(update(gate_runs).where(gate_runs.c.id == bindparam("wanted")))
_IN_ORDER = select(gate_runs).order_by(gate_runs.c.opened_us, gate_runs.c.id)
_ON = Statement(_IN_ORDER.where(gate_runs.c.commit == bindparam("on"), gate_runs.c.round == bindparam("in")))
_OF_TASK = Statement(_IN_ORDER.where(gate_runs.c.task == bindparam("of")))
_EARLIER = Statement(
    select(func.count().label("runs"))
    .select_from(gate_runs)
    .where(gate_runs.c.turn == bindparam("of"), gate_runs.c.gate == bindparam("named"))
)
_RECENT: Final = 500


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a repository's gate that ran at all. ``isolation_known``: it says how it was isolated, as
    every run does since gates have walls."""

    repo: str
    gate: str
    reason: str
    closed_us: int
    isolation_known: bool


def open_run(
    tx: Tx,
    candidate: Candidate,
    *,
    gate: str,
    argv: Sequence[str],
    definition_sha256: str,
    machine: str,
    nonce: str,
    pipe: str = "",
    login: str = "",
    supervisor: str = "",
) -> str:
    """Records a run before it starts, with its ``GateOpened`` event, and returns its id.

    ``pipe`` is the runner's pipe for it; empty: the store's instance and the run's id.
    """
    run_id = _free_id(tx, candidate.turn.id, gate)
    row = {
        "id": run_id,
        "task": candidate.task.id,
        "session": candidate.session.id,
        "turn": candidate.turn.id,
        "gate": gate,
        "commit": candidate.commit,
        "tree": candidate.tree,
        "base": candidate.base,
        "round": candidate.round,
        "argv": argv,
        "definition_sha256": definition_sha256,
        "machine": machine,
        "nonce": nonce,
        "pipe": pipe or f"{tx.store.instance}-{run_id}",
        "login": login,
        "supervisor": supervisor,
        "opened_us": tx.now_us(),
        "closed_us": 0,
        "result": "",
    }
    _OPEN.run(tx.connection, row)
    event = GateOpened(
        gate=gate,
        commit=candidate.commit,
        tree=candidate.tree,
        base=candidate.base,
        argv=tuple(argv),
        definition_sha256=definition_sha256,
        round=candidate.round,
    )
    ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=_refs(run(tx, run_id)))
    return run_id


def record_witnessed(tx: Tx, run_id: str, event: GateWitnessed) -> None:
    """Records who signed a checkpoint with the run's opening, before it begins."""
    ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=_refs(run(tx, run_id)))


def close_run(tx: Tx, run_id: str, result: GateResult) -> None:
    """Records a run's result, with its ``gate.closed`` event. Raises ``ValueError`` when it was already closed."""
    opened = run(tx, run_id)
    if opened.closed_us:
        raise ValueError(f"gate run {run_id} was already closed")
    values = {"closed_us": tx.now_us(), "result": json.dumps(msgspec.to_builtins(result))}
    _CLOSE.run(tx.connection, {"wanted": run_id, **values})
    seen = result.evidence
    isolation = seen.isolation if seen else UNWALLED
    event = GateClosedV6(
        gate=opened.gate,
        outcome=str(result.outcome),
        reason=result.reason,
        exit=seen.exit if seen else None,
        raw_wait_status=seen.raw_wait_status if seen else None,
        tree=seen.tree if seen else "",
        login=seen.login if seen else "",
        contained=seen.contained if seen else False,
        output_sha256=seen.output_sha256 if seen else "",
        output_bytes=seen.output_bytes if seen else 0,
        started_us=seen.started_us if seen else 0,
        ended_us=seen.ended_us if seen else 0,
        junit=result.junit,
        processes=isolation.processes,
        files=isolation.files,
        network=isolation.network,
        login_sharing=isolation.account,
        supervisor=isolation.supervisor,
        left=seen.left if seen else (),
        limits=seen.limits if seen else None,
        reached=words_for(seen.reached) if seen else "",
        failed=result.failed,
        quarantined=result.quarantined,
    )
    source = Source.SUPERVISOR if seen else Source.CONTROLLER
    ledger.append(tx, event, actor=AIRBOSS, source=source, refs=_refs(opened))


def run(tx: Tx, run_id: str) -> GateRun:
    """The run with this id. Raises ``KeyError`` when it does not exist."""
    if (row := _BY_ID.one(tx.connection, {"wanted": run_id})) is None:
        raise KeyError(run_id)
    return _run(row)


def runs_of(tx: Tx, ids: Collection[str]) -> list[GateRun]:
    """The runs with these ids."""
    return [_run(row) for row in tx.connection.execute(select(gate_runs).where(gate_runs.c.id.in_(ids)))]


def runs(tx: Tx, commit: str, round: int) -> list[GateRun]:
    """The runs on a commit in one of its judgements, in the order in which they were opened."""
    return [_run(row) for row in _ON.all(tx.connection, {"on": commit, "in": round})]


def landing_round(tx: Tx, task: str, commit: str) -> int:
    """The judgement of a merge that goes on or begins: a new one, where the last was withdrawn."""
    query = select(gate_runs).where(gate_runs.c.commit == commit, gate_runs.c.task == task)
    mine = [_run(row) for row in tx.connection.execute(query)]
    last = max((run.round for run in mine), default=2)
    ended = [run.result.outcome for run in mine if run.round == last and run.result is not None]
    return last + 1 if Outcome.ABORTED in ended else last


def of_task(tx: Tx, task: str) -> list[GateRun]:
    """All runs for a task, in the order in which they were opened."""
    return [_run(row) for row in _OF_TASK.all(tx.connection, {"of": task})]


def tasks_of(tx: Tx, runs: Collection[str]) -> dict[str, str]:
    """The task of each of these runs."""
    query = select(gate_runs.c.id, gate_runs.c.task).where(gate_runs.c.id.in_(runs))
    return {row.id: row.task for row in tx.connection.execute(query)}


def open_logins(tx: Tx, machine: str) -> frozenset[str]:
    """The logins of runs on a machine that are not closed."""
    query = select(gate_runs.c.login).where(gate_runs.c.closed_us == 0, gate_runs.c.machine == machine)
    return frozenset(tx.connection.execute(query).scalars())


def last_of_each(tx: Tx) -> list[LastRun]:
    """The last run of each gate of each repository, among the newest 500 runs; by repository and gate."""
    query = (
        select(tasks.c.repo, gate_runs.c.gate, gate_runs.c.closed_us, gate_runs.c.result)
        .join(tasks, tasks.c.id == gate_runs.c.task)
        .where(gate_runs.c.closed_us > 0)
        .order_by(gate_runs.c.closed_us.desc())
        .limit(_RECENT)
    )
    found: dict[tuple[str, str], LastRun] = {}
    for row in tx.connection.execute(query):
        result = json.loads(row.result)
        if result["evidence"]:
            known = bool(result["evidence"].get("isolation"))
            run = LastRun(row.repo, row.gate, result["reason"], row.closed_us, known)
            found.setdefault((row.repo, row.gate), run)
    return [found[key] for key in sorted(found)]


def _free_id(tx: Tx, turn: str, gate: str) -> str:
    count = _EARLIER.one(tx.connection, {"of": turn, "named": gate}).runs + 1
    run_id = f"{turn}-{gate}" if count == 1 else f"{turn}-{gate}-{count}"
    # A gate named "tests-2" may already have the id that "tests" would get for its second run.
    while _BY_ID.one(tx.connection, {"wanted": run_id}) is not None:
        count += 1
        run_id = f"{turn}-{gate}-{count}"
    return run_id


def _refs(opened: GateRun) -> Refs:
    return Refs(
        task=opened.task,
        session=opened.session,
        turn=opened.turn,
        gate_run=opened.id,
        machine=opened.machine,
    )


_run = reader(GateRun, result=lambda row: _result(row.result) if row.result else None)


def _result(stored: str) -> GateResult:
    """What versions before walls and limits did not store is as if there were none."""
    return msgspec.convert(json.loads(stored), GateResult)
