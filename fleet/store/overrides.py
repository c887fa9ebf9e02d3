"""A person's word that one gate of one change need not pass. It never changes what the gate's runs say.

An override binds to the tree that the gate judged and to the definition by which it did; it dies with either, and
when it expires.
"""

from __future__ import annotations

from fleet.errors import Refused
from fleet.events import GateOverridden, Recorded, Refs, Source, VerdictGiven
from fleet.gate_runs import GateRun
from fleet.model import Task
from fleet.store import gates, ledger
from fleet.store.core import Tx
from fleet.store.recent import last_events
from fleet.verdict import GateResult, Outcome


def of_task(tx: Tx, task: str) -> list[Recorded]:
    """The task's overrides, oldest first."""
    return ledger.read(tx, kinds=(GateOverridden.KIND,), task=task)


def valid(tx: Tx, task: str, tree: str) -> dict[tuple[str, str], GateOverridden]:
    """The overrides for this tree that have not expired, by gate and digest of its definition."""
    now = tx.now_us()
    found = [each.event for each in of_task(tx, task) if isinstance(each.event, GateOverridden)]
    return {
        (event.gate, event.definition_sha256): event
        for event in found
        if event.tree == tree and event.expires_us > now
    }


def last_verdict(tx: Tx, task: str) -> VerdictGiven | None:
    """The task's newest verdict."""
    found = last_events(tx, 1, kinds=(VerdictGiven.KIND,), task=task)
    event = found[0].event if found else None
    return event if isinstance(event, VerdictGiven) else None


def demand_unexpired(tx: Tx, task: Task) -> None:
    """Raises ``Refused`` where the newest verdict opens by overrides, and one of them has expired."""
    verdict = last_verdict(tx, task.id)
    if verdict is None or verdict.outcome != Outcome.OVERRIDDEN:
        return
    mine = [each.event for each in of_task(tx, task.id) if isinstance(each.event, GateOverridden)]
    last = {event.gate: event for event in mine if event.tree == verdict.tree}
    for event in last.values():
        if event.expires_us <= tx.now_us():
            raise Refused(
                attempted="land the change",
                on=task.id,
                cause=f"the override of gate {event.gate} has expired",
                hint=f"/override {task.id} {event.gate} and a reason gives it again.",
            )


def record(tx: Tx, run: GateRun, event: GateOverridden, actor: str) -> None:
    """Writes the override into the ledger, before anything acts on it."""
    refs = Refs(task=run.task, session=run.session, turn=run.turn, gate_run=run.id)
    ledger.append(tx, event, actor=actor, source=Source.PERSON, refs=refs)


def failing(tx: Tx, task: str) -> dict[str, tuple[GateRun, GateResult]]:
    """The gates because of which the task's newest verdict does not open, by name."""
    verdict = last_verdict(tx, task)
    if verdict is None or Outcome(verdict.outcome).opens:
        return {}
    runs = [run for run in gates.of_task(tx, task) if run.id in verdict.gate_runs]
    return {run.gate: (run, run.result) for run in runs if run.result is not None and not run.result.outcome.opens}
