"""What the ledger says of a commit's judgement."""

from __future__ import annotations

from typing import Final

from fleet.events import VerdictGiven
from fleet.store import recent
from fleet.store.core import Tx
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
            released = outcome is Outcome.HELD and commit in recent.released_commits(tx, task)
            return outcome.opens or released
    return False
