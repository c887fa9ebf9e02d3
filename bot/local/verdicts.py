"""How ``airboss gate try`` prints a verdict, and its exit status."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fleet import exits
from fleet.model import Isolation
from fleet.untrusted import Untrusted, clean
from fleet.verdict import GateResult, Outcome, Verdict

#: The command's exit status for each verdict.
STATUS: dict[Outcome, int] = {
    Outcome.PASSED: 0,
    Outcome.APPROVED: 0,
    Outcome.OVERRIDDEN: 0,
    Outcome.FAILED: 1,
    Outcome.TIMED_OUT: 1,
    Outcome.REFUSED: 2,
    Outcome.UNAVAILABLE: 3,
    Outcome.LOST: 3,
    Outcome.ABORTED: 3,
    Outcome.MISSING: 3,
    Outcome.STALE: 3,
    Outcome.HELD: 4,
}


def as_plain(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON of the shape in ``docs/schema/gate-try.json``."""
    return {
        "v": 3,
        "verdict": str(verdict.outcome),
        "outcome": str(verdict.outcome),
        "status": STATUS[verdict.outcome],
        "reasons": list(verdict.reasons),
        "commit": verdict.commit,
        "tree": verdict.tree,
        "base": verdict.base,
        "isolation": str(verdict.isolation),
        "gates": [_gate(result, verdict.isolation) for result in verdict.gates],
    }


def _gate(result: GateResult, login: Isolation) -> dict[str, Any]:
    seen = result.evidence
    return {
        "name": result.gate,
        "state": str(result.outcome),
        "wait_status": seen.raw_wait_status if seen else None,
        "reasons": [result.reason, *result.notes],
        "held": [asdict(place) for place in result.held],
        "isolation": {
            "login": str(login),
            "processes": str(seen.isolation.processes),
            "files": str(seen.isolation.files),
            "network": str(seen.isolation.network),
        }
        if seen
        else None,
        "evidence": {
            "wait_status": "outside",
            "tests": "inside" if result.junit else None,
            "tree": seen.tree,
            "machine": seen.machine,
            "output_sha256": seen.output_sha256,
            "output_bytes": seen.output_bytes,
            "duration_us": seen.ended_us - seen.started_us,
        }
        if seen
        else None,
        "earlier": [{"state": str(each.outcome), "reason": each.reason} for each in result.earlier],
        "gate": result.gate,
        "argv": list(result.argv),
        "outcome": str(result.outcome),
        "reason": result.reason,
        "exit": exits.to_json(seen.exit) if seen else None,
        "raw_wait_status": seen.raw_wait_status if seen else None,
        "duration_us": seen.ended_us - seen.started_us if seen else None,
        "contained": seen.contained if seen else None,
        "output_sha256": seen.output_sha256 if seen else None,
        "output_bytes": seen.output_bytes if seen else None,
        "junit": asdict(result.junit) if result.junit else None,
        "tail": result.tail,
    }


def as_table(verdict: Verdict) -> str:
    """The verdict for a terminal."""
    rows = [("gate", "outcome", "exit", "seconds")]
    for result in verdict.gates:
        seen = result.evidence
        took = f"{(seen.ended_us - seen.started_us) / 1e6:.1f}" if seen else "-"
        rows.append(
            (result.gate, str(result.outcome), Untrusted(str(seen.exit)).one_line(60) if seen else "not run", took)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if not verdict.gates:
        lines = []
    for result in verdict.gates:
        if result.tail and not result.outcome.opens:
            lines += ["", f"{result.gate}:", *(f"  {line}" for line in clean(result.tail).split("\n"))]
    lines += ["", f"{verdict.outcome}: {verdict.commit[:12]} on {verdict.base[:12]}"]
    lines += [f"  {clean(reason)}" for reason in verdict.reasons]
    if verdict.isolation is Isolation.UNSAFE_SAME_USER:
        lines.append("  (run as your own login: unsafe-same-user)")
    return "\n".join(lines).lstrip("\n") + "\n"
