"""A task's receipt: an in-toto Statement about the landed commit, computed only from the ledger.

It is a pure function of the ledger up to the landing, so anyone with the ledger can recompute it byte for byte, and
making it twice gives the same bytes. It does not include what the agent said; what the agent did is included only
as seen by the gates' supervisors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import rfc8785

from fleet.errors import Refused
from fleet.events import (
    AgentReady,
    GateClosed,
    GateOpened,
    GateOverridden,
    HoldReleased,
    HoldReleasedV2,
    LandingDone,
    LandingDoneV2,
    PipeEndedV2,
    PipeStarted,
    Recorded,
    SessionHandedBack,
    SessionPlaced,
    SessionPlacedV2,
    SessionTaken,
    SnapshotMade,
    TaskRequested,
    VerdictGiven,
)
from fleet.verdict import NOT_AVAILABLE, Outcome
from gates.receipts.reviews import review, review_runs
from gates.receipts.runs import described, locks_held, opening_and_close, witnessed_by

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:airboss:receipt:v2"
#: Without a run's attempt, round, commit and base, and without locks. Such receipts are verified, not made.
OLD_PREDICATE_TYPE = "urn:airboss:receipt:v1"

#: Nothing outside the operator's control has acknowledged the ledger yet; each receipt says so.
UNWITNESSED = "unwitnessed"


def landing_of(task: str, events: Sequence[Recorded]) -> Recorded:
    """The event of the task's landing. Raises ``Refused`` when there is none: only landings get receipts."""
    for recorded in reversed(events):
        if isinstance(recorded.event, LandingDone) and recorded.refs.task == task:
            return recorded
    raise _refuse(task, "the ledger has no landing for it")


def landed_commit(landing: Recorded) -> str:
    """The commit that a landing event put on the branch."""
    assert isinstance(landing.event, LandingDone)
    return landing.event.new


def build(task: str, events: Sequence[Recorded], head: bytes, predicate_type: str = PREDICATE_TYPE) -> bytes:
    """The statement's RFC 8785 bytes, in this version or an earlier one.

    ``events`` are at least all events of the task; ``head`` is the root of the ledger up to the landing. Raises
    ``Refused`` when the ledger does not show a passing verdict for exactly the tree that landed.
    """
    landing = landing_of(task, events)
    mine = [item for item in events if item.refs.task == task and item.seq <= landing.seq]
    done = landing.event
    assert isinstance(done, LandingDone)
    verdict = _verdict_on(task, mine, done.tree)
    requested = next((item for item in mine if isinstance(item.event, TaskRequested)), None)
    if requested is None:
        raise _refuse(task, "the ledger has no request for it")
    assert isinstance(requested.event, TaskRequested)
    reviewed = review_runs(mine) - _overridden_runs(mine)
    old = predicate_type == OLD_PREDICATE_TYPE
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": f"{requested.event.repo}:{done.ref}", "digest": {"gitCommit": done.new}}],
            "predicateType": predicate_type,
            "predicate": {
                "task": {
                    "id": task,
                    "repo": requested.event.repo,
                    "agent": requested.event.agent,
                    "requester": requested.actor,
                    "requested_us": requested.time_us,
                    "prompt_sha256": hashlib.sha256(requested.event.prompt.encode()).hexdigest(),
                },
                "isolation": verdict.isolation,
                "sessions": _sessions(mine),
                "snapshot": _snapshot(mine, verdict),
                "judged": {"commit": verdict.commit, "tree": verdict.tree, "base": verdict.base},
                "landed": {
                    "ref": done.ref,
                    "commit": done.new,
                    "tree": done.tree,
                    "replaced": done.old,
                    "fencing_token": done.fencing_token,
                    **({"fenced_by": done.fenced_by} if isinstance(done, LandingDoneV2) else {}),
                    "landed_us": landing.time_us,
                },
                **({} if old else {"locks": locks_held(mine, landing.seq)}),
                "gates": [_gate(task, mine, run, old=old) for run in verdict.gate_runs if run not in reviewed],
                **_reviews(task, mine, [run for run in verdict.gate_runs if run in reviewed], done.tree),
                **_layers(verdict),
                "failed_rounds": _failed_rounds(mine),
                "unfinished_gate_runs": _unfinished(mine),
                "hold": _hold(mine, verdict),
                "ledger": {
                    "size": landing.seq,
                    "root_sha256": head.hex(),
                    "first_seq": mine[0].seq,
                    "last_seq": landing.seq,
                    "events": len(mine),
                },
                "witness": _witness(mine, verdict.gate_runs),
            },
        }
    )


def _refuse(task: str, cause: str) -> Refused:
    return Refused(attempted="make a receipt", on=task, cause=cause)


def _verdict_on(task: str, mine: Sequence[Recorded], tree: str) -> VerdictGiven:
    """The last verdict on the landed tree: it opens, or was held and then released by a person."""
    released: set[str] = set()
    for recorded in reversed(mine):
        event = recorded.event
        if isinstance(event, HoldReleased) and event.approved:
            released.add(event.commit)
        if isinstance(event, VerdictGiven) and event.tree == tree:
            held = event.outcome == Outcome.HELD and event.commit in released
            fine = held or Outcome(event.outcome).opens
            if fine and event.gate_runs:
                return event
            raise _refuse(task, f"the last verdict on the landed tree is {event.outcome!r}")
    raise _refuse(task, f"the ledger has no verdict on the landed tree {tree}")


def _sessions(mine: Sequence[Recorded]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for recorded in mine:
        event, session = recorded.event, recorded.refs.session
        if isinstance(event, SessionPlaced):
            found[session] = {
                "id": session,
                "machine": event.machine,
                "agent": event.agent,
                "base": event.base,
                "isolation": event.isolation,
                **({"login": event.login} if isinstance(event, SessionPlacedV2) and event.login else {}),
                "programs": [],
                "models": [],
            }
        elif session in found and isinstance(event, PipeStarted):
            _once(found[session]["programs"], event.program)
        elif session in found and isinstance(event, PipeEndedV2):
            parts = ("processes", "files", "network", "vendor_login")
            _once(found[session].setdefault("walls", []), {part: getattr(event, part) for part in parts})
        elif session in found and isinstance(event, SessionTaken):
            by_hand = {"by": recorded.actor, "program": event.program, "since_us": recorded.time_us}
            found[session].setdefault("by_hand", []).append(by_hand)
        elif session in found and isinstance(event, SessionHandedBack) and "by_hand" in found[session]:
            found[session]["by_hand"][-1] |= {"until_us": recorded.time_us, "exit": event.exit}
        elif session in found and isinstance(event, AgentReady) and event.model:
            _once(found[session]["models"], event.model)
    return list(found.values())


def _once(items: list[Any], item: object) -> None:
    if item not in items:
        items.append(item)


def _snapshot(mine: Sequence[Recorded], verdict: VerdictGiven) -> dict[str, Any] | None:
    """The agent's last snapshot before the verdict; after a merge its tree differs from the landed one."""
    last: SnapshotMade | None = None
    for recorded in mine:
        if isinstance(recorded.event, SnapshotMade):
            last = recorded.event
        if recorded.event == verdict:
            break
    return {"commit": last.commit, "tree": last.tree, "base": last.base} if last else None


def _gate(task: str, mine: Sequence[Recorded], run: str, *, old: bool) -> dict[str, Any]:
    ends = opening_and_close(mine, run)
    if ends is None:
        raise _refuse(task, f"gate run {run} was not opened before it was closed")
    opened, closed = ends
    start, end = opened.event, closed.event
    assert isinstance(start, GateOpened)
    assert isinstance(end, GateClosed)
    word = _override(mine, start)
    if end.outcome != Outcome.PASSED and word is None:
        raise _refuse(task, f"gate run {run} of the landed tree is {end.outcome!r}")
    return described(mine, opened, closed, word if end.outcome != Outcome.PASSED else None, old=old)


def _overridden_runs(mine: Sequence[Recorded]) -> set[str]:
    return {item.refs.gate_run for item in mine if isinstance(item.event, GateOverridden)}


def _override(mine: Sequence[Recorded], start: GateOpened) -> dict[str, Any] | None:
    """The last override of this gate, for the tree and the definition that it judged."""
    for recorded in reversed(mine):
        event = recorded.event
        if not isinstance(event, GateOverridden) or event.gate != start.gate:
            continue
        if (event.tree, event.definition_sha256) == (start.tree, start.definition_sha256):
            return {
                "by": recorded.actor,
                "reason": event.reason,
                "self_approved": event.self_approved,
                "given_us": recorded.time_us,
                "expires_us": event.expires_us,
            }
    return None


def _witness(mine: Sequence[Recorded], runs: Sequence[str]) -> str:
    """Who witnessed the opening of each of these runs."""
    opened = [item for item in mine if isinstance(item.event, GateOpened) and item.refs.gate_run in runs]
    names = [frozenset(witnessed_by(mine, item) or ()) for item in opened]
    every = sorted(frozenset.intersection(*names)) if names else []
    return f"witnessed by {', '.join(every)}" if every else UNWITNESSED


def _reviews(task: str, mine: Sequence[Recorded], runs: Sequence[str], tree: str) -> dict[str, Any]:
    """The reviews, where there are any: receipts of versions without them stay the same."""
    found = []
    for run in runs:
        seen = review(mine, run, tree)
        if isinstance(seen, str):
            raise _refuse(task, seen)
        found.append(seen)
    return {"reviews": found} if found else {}


def _layers(verdict: VerdictGiven) -> dict[str, Any]:
    """The layers against tampering that could not judge, where there are any."""
    found = [reason for reason in verdict.reasons if f": {NOT_AVAILABLE}" in reason]
    return {"layers_not_available": found} if found else {}


def _may_open(verdict: VerdictGiven) -> bool:
    outcome = Outcome(verdict.outcome)
    return outcome.opens or outcome is Outcome.HELD


def _failed_rounds(mine: Sequence[Recorded]) -> list[dict[str, Any]]:
    return [
        {
            "commit": item.event.commit,
            "tree": item.event.tree,
            "outcome": item.event.outcome,
            "gate_runs": list(item.event.gate_runs),
        }
        for item in mine
        if isinstance(item.event, VerdictGiven) and not _may_open(item.event)
    ]


def _unfinished(mine: Sequence[Recorded]) -> list[str]:
    closed = {item.refs.gate_run for item in mine if isinstance(item.event, GateClosed)}
    return [
        item.refs.gate_run
        for item in mine
        if isinstance(item.event, GateOpened) and item.refs.gate_run not in closed
    ]


def _hold(mine: Sequence[Recorded], verdict: VerdictGiven) -> dict[str, Any] | None:
    for recorded in reversed(mine):
        event = recorded.event
        if isinstance(event, HoldReleased) and event.approved and event.commit == verdict.commit:
            own = isinstance(event, HoldReleasedV2) and event.self_approved
            marked = {"self_approved": True} if own else {}
            return {"approver": recorded.actor, "commit": event.commit, "reason": event.reason, **marked}
    return None
