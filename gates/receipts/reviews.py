"""What a receipt says of the reviews of the landed tree: who had no objection, and how that is known. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet.events import GateClosed, GateOpened, Recorded, ReviewAnswered, ReviewAsked


def review_runs(mine: Sequence[Recorded]) -> frozenset[str]:
    """The gate runs that are reviews."""
    return frozenset(item.refs.gate_run for item in mine if isinstance(item.event, ReviewAsked))


def review(mine: Sequence[Recorded], run: str, tree: str) -> dict[str, Any] | str:
    """One review of the landed ``tree``; or what is wrong with it, in words."""
    events = [item.event for item in mine if item.refs.gate_run == run]
    opened = next((event for event in events if isinstance(event, GateOpened)), None)
    asked = next((event for event in events if isinstance(event, ReviewAsked)), None)
    answered = next((event for event in events if isinstance(event, ReviewAnswered)), None)
    closed = next((event for event in events if isinstance(event, GateClosed)), None)
    if opened is None or asked is None or answered is None or closed is None:
        return f"review {run} has no whole record"
    if opened.tree != tree:
        return f"review {run} is of the tree {opened.tree}"
    objections = [finding for finding in answered.findings if finding.severity == "blocking"]
    if closed.outcome != "passed" or answered.none or not answered.caught or objections:
        return f"review {run} did not end without objection"
    return {
        "run": run,
        "gate": opened.gate,
        "outcome": "no objection",
        "definition_sha256": opened.definition_sha256,
        "tree": opened.tree,
        "author_family": asked.author_family,
        "model": answered.model,
        "families": list(answered.families),
        "identity": answered.identity,
        "model_digest": answered.digest,
        "planted_defect": answered.planted,
        "remarks": len(answered.findings),
        "request_sha256": asked.request_sha256,
        "answer_sha256": answered.answer_sha256,
    }
