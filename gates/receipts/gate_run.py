"""The receipt of one gate run, however it ended: an in-toto Statement, computed from the ledger up to its close.

A failed run has one like a passed one. It is about the commit that was judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import rfc8785

from fleet.errors import Refused
from fleet.events import GateClosedV5, GateOpened, Recorded, ReviewAnswered, ReviewAsked, TaskRequested
from gates.receipts.runs import described, locks_held, opening_and_close, witnessed_by
from gates.receipts.statement import STATEMENT_TYPE, UNWITNESSED

GATE_TYPE: Final = "urn:airboss:gate:v1"


def close_of(run: str, events: Sequence[Recorded]) -> Recorded:
    """The event that closed the run. Raises ``Refused`` where there is none."""
    ends = opening_and_close(events, run)
    if ends is None:
        raise _refuse(run, "the ledger does not have its opening and its close")
    return ends[1]


def build(run: str, events: Sequence[Recorded], head: bytes) -> bytes:
    """The statement's RFC 8785 bytes. ``events`` are at least all events of the run's task, ``head`` is the root of
    the ledger up to the close. Raises ``Refused`` where the ledger does not have all of it."""
    closed = close_of(run, events)
    task = closed.refs.task
    mine = [item for item in events if item.refs.task == task and item.seq <= closed.seq]
    ends = opening_and_close(mine, run)
    assert ends is not None
    opened, start = ends[0], ends[0].event
    assert isinstance(start, GateOpened)
    requested = next((item for item in mine if isinstance(item.event, TaskRequested)), None)
    if requested is None:
        raise _refuse(run, "the ledger has no request for its task")
    assert isinstance(requested.event, TaskRequested)
    failed = {"failed_testimony": list(closed.event.failed)} if isinstance(closed.event, GateClosedV5) else {}
    names = witnessed_by(mine, opened)
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": f"{requested.event.repo}:{start.gate}", "digest": {"gitCommit": start.commit}}],
            "predicateType": GATE_TYPE,
            "predicate": {
                "task": task,
                "repo": requested.event.repo,
                **described(mine, opened, closed, None, old=False),
                **failed,
                **_reviewer(mine, run),
                "locks": locks_held(mine, closed.seq),
                "ledger": {
                    "size": closed.seq,
                    "root_sha256": head.hex(),
                    "first_seq": opened.seq,
                    "last_seq": closed.seq,
                },
                "witness": f"witnessed by {', '.join(names)}" if names else UNWITNESSED,
            },
        }
    )


def _reviewer(mine: Sequence[Recorded], run: str) -> dict[str, Any]:
    """Who reviewed, where the gate is a review: the model and its family as served."""
    events = [item.event for item in mine if item.refs.gate_run == run]
    asked = next((event for event in events if isinstance(event, ReviewAsked)), None)
    answered = next((event for event in events if isinstance(event, ReviewAnswered)), None)
    if asked is None or answered is None:
        return {}
    served = {
        "model": answered.model,
        "families": list(answered.families),
        "identity": answered.identity,
        "model_digest": answered.digest,
        "author_family": asked.author_family,
        "planted_defect": answered.planted,
        "caught": answered.caught,
        "objections": sum(finding.severity == "blocking" for finding in answered.findings),
        "request_sha256": asked.request_sha256,
        "answer_sha256": answered.answer_sha256,
    }
    return {"reviewer": served}


def problem(statement: Any) -> str:
    """What is missing in the statement of a gate run, or contradicts itself; empty: nothing."""
    match statement:
        case {
            "_type": str(kind),
            "subject": [{"name": str(), "digest": {"gitCommit": str(subject)}}],
            "predicate": {
                "task": str(),
                "run": str(),
                "gate": str(),
                "outcome": str(),
                "attempt": int(attempt),
                "commit": str(commit),
                "tree": str(),
                "base": str(),
                "argv": list(),
                "definition_sha256": str(),
                "raw_wait_status": int() | None,
                "ledger": {"size": int(size), "root_sha256": str(), "first_seq": int(first), "last_seq": int(last)},
                "witness": str(),
            },
        }:
            pass
        case _:
            return "it lacks a field that every receipt of a gate run has"
    if kind != STATEMENT_TYPE:
        return f"it is of another type ({kind!r})"
    if subject != commit:
        return f"its subject is {subject} but {commit} was judged"
    if not 1 <= first < last == size or attempt < 1:
        return "its numbers contradict each other"
    return ""


def _refuse(run: str, cause: str) -> Refused:
    return Refused(attempted="make the receipt of a gate run", on=run, cause=cause)
