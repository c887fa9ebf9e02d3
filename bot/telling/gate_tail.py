"""The last lines of a gate that runs now, from what a controller has read of its output."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fleet.events import GateClosed, GateOpened
from fleet.model import Task, TaskState
from fleet.store import ledger
from fleet.store.core import Store, Tx
from fleet.untrusted import clean
from gates.runs import tails

_BYTES: Final = 16 << 10
_ROWS, _ROW = 12, 200


async def of(store: Store, home: Path, task: Task) -> list[str]:
    """The lines, after one that names the gate; none while no gate of the task runs. Secrets are hidden: only whole
    lines are shown, and all of what was read is redacted before."""
    if task.state not in (TaskState.JUDGING, TaskState.LANDING):
        return []
    found = await store.read(lambda tx: _running(tx, task.id))
    if found is None:
        return []
    run, gate = found
    text = clean(await tails.of_run(store, home / "gates" / f"{run}.log", run), _BYTES)
    rows = [row for row in (store.redact(text) if store.redact else text).splitlines() if row.strip()]
    return [f"— gate {gate} is running", *(f"  │ {row[:_ROW]}" for row in rows[-_ROWS:])]


def _running(tx: Tx, task: str) -> tuple[str, str] | None:
    """The run and the name of the gate that was opened last, if it is not closed."""
    opened: dict[str, str] = {}
    for recorded in ledger.read(tx, kinds=(GateOpened.KIND, GateClosed.KIND), task=task, limit=10_000):
        if isinstance(recorded.event, GateOpened):
            opened[recorded.refs.gate_run] = recorded.event.gate
        else:
            opened.pop(recorded.refs.gate_run, None)
    return next(reversed(opened.items()), None)
