"""What the ledger says of a commit's judgement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fleet.events import HoldReleased, VerdictGiven
from fleet.store import ledger, recent
from fleet.store.core import Tx
from fleet.store.gates import runs_of
from fleet.verdict import Outcome

_LATEST: Final = 50
"""How many verdicts of a task are looked through; each newer one is about another merge, or by other gates."""


def lets_land(tx: Tx, task: str, *, commit: str, tree: str, base: str) -> bool:
    """Whether the task's newest verdict on exactly this lets it land, or a person released it."""
    for recorded in reversed(recent.last_events(tx, _LATEST, kinds=(VerdictGiven.KIND,), task=task)):
        verdict = recorded.event
        if isinstance(verdict, VerdictGiven) and (verdict.commit, verdict.tree, verdict.base) == (
            commit,
            tree,
            base,
        ):
            outcome = Outcome(verdict.outcome)
            return outcome.opens or (outcome is Outcome.HELD and _released_since(tx, task, commit, recorded.seq))
    return False


def released(tx: Tx, task: str, gates: Mapping[str, str]) -> frozenset[str]:
    """A task's commits that a person released as these gates held them. ``gates``: the digest of the definition of
    each that is required now; a release says nothing of what others would have shown."""
    kinds = (VerdictGiven.KIND, HoldReleased.KIND)
    shown: dict[str, tuple[str, ...]] = {}
    found = set()
    for recorded in ledger.read(tx, kinds=kinds, task=task):
        event = recorded.event
        if isinstance(event, VerdictGiven) and event.outcome == Outcome.HELD:
            shown[event.commit] = event.gate_runs
        elif isinstance(event, HoldReleased) and event.approved:
            seen = {each.gate: each.definition_sha256 for each in runs_of(tx, shown.get(event.commit, ()))}
            if seen == gates:
                found.add(event.commit)
    return frozenset(found)


def _released_since(tx: Tx, task: str, commit: str, seq: int) -> bool:
    """Whether a person released the commit after the event with this number."""
    found = ledger.read(tx, kinds=(HoldReleased.KIND,), task=task)
    return any(
        isinstance(item.event, HoldReleased)
        and item.event.approved
        and (item.event.commit, item.seq > seq) == (commit, True)
        for item in found
    )
