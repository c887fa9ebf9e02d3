"""What was seen outside that carries this store's names: on machines, on base branches, among the receipts.

A trace that the store does not know was made after what the store remembers: it was restored from a backup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, insert, select, update

from fleet.store import landings, ledger, sessions, takeovers, tasks, tree
from fleet.store.chat import settings
from fleet.store.core import Tx
from fleet.store.tables import gate_runs, meta

_TASK_FLOOR: Final = "task_floor"
FARTHEST: Final = 10_000
"""A task's number that is so far above the store's own was made up by code on a machine, and raises no floor."""

_ACKNOWLEDGED: Final = "traces:acknowledged"
_SESSION = re.compile(r"(?P<task>t(?P<number>[1-9]\d{0,11}))\.[1-9]\d{0,5}")
_NAME = re.compile(
    rf"[0-9a-f]{{8}}-(?P<session>{_SESSION.pattern})(?:-(?P<mark>[0-9a-f]{{16}}))?(?P<pipe>-p\d+\S*)?"
)
_GATE = re.compile(r"[0-9a-f]{8}-gate-[0-9a-f]{16}")
_GATE_RUN = select(gate_runs.c.id).where(gate_runs.c.pipe == bindparam("name")).limit(1)


@dataclass(frozen=True, slots=True)
class Trace:
    """Something that carries a name of this store. ``where``: as a person says it. ``commit``: it landed as this.
    ``receipt``: the name is a task's, which has a receipt. ``root``: it is a checkpoint of the first ``size``
    events."""

    name: str
    where: str
    commit: str = ""
    receipt: bool = False
    size: int = 0
    root: bytes = b""

    @property
    def number(self) -> int:
        """The task's number; 0 when the name has none."""
        found = re.search(r"\bt([1-9]\d{0,11})\b", self.name)
        return int(found.group(1)) if found else 0

    @property
    def line(self) -> str:
        """For people and for the ledger."""
        landed = f", landed as {self.commit[:12]}" if self.commit else ""
        return f"{self.name} ({self.where}{landed})"


def unknown(tx: Tx, seen: Iterable[Trace]) -> list[Trace]:
    """Those that the store does not know, and that no reset has acknowledged."""
    acknowledged = set(json.loads(settings.get(tx, _ACKNOWLEDGED) or "[]"))
    return [trace for trace in seen if trace.line not in acknowledged and not _known(tx, trace)]


def acknowledge(tx: Tx, lost: Iterable[Trace]) -> None:
    """From now on these are known to be lost; new tasks get numbers above theirs."""
    before = set(json.loads(settings.get(tx, _ACKNOWLEDGED) or "[]"))
    lost = list(lost)
    settings.put(tx, _ACKNOWLEDGED, json.dumps(sorted(before | {trace.line for trace in lost})))
    floor = floor_above(tx, lost)
    if tx.connection.execute(update(meta).where(meta.c.key == _TASK_FLOOR), {"value": str(floor)}).rowcount == 0:
        tx.connection.execute(insert(meta), {"key": _TASK_FLOOR, "value": str(floor)})


def floor_above(tx: Tx, lost: Iterable[Trace]) -> int:
    """The highest number of a task that the store or one of these knows."""
    last = tasks.last_number(tx)
    return max([last, *(trace.number for trace in lost if trace.number <= last + FARTHEST)])


def _known(tx: Tx, trace: Trace) -> bool:
    if trace.root:
        return trace.size <= ledger.size(tx) and tree.root_at(tx, trace.size) == trace.root
    if trace.receipt:
        return bool(landings.of_task(tx, trace.name))
    if _GATE.fullmatch(trace.name):
        return tx.connection.execute(_GATE_RUN, {"name": trace.name}).one_or_none() is not None
    found = _NAME.fullmatch(trace.name)
    if found is None:
        return True  # not a name that a store gives
    try:
        session = sessions.session(tx, found["session"])
    except KeyError:
        return False
    if trace.commit:
        return bool(landings.of_task(tx, session.task))
    if found["pipe"]:
        by_hand = {takeover.pipe for takeover in takeovers.of_task(tx, session.task)}
        return trace.name in {session.pipe, *sessions.pipes(tx, session.id), *by_hand}
    return (found["mark"] or "") == session.mark
