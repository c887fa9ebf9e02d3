"""When a gate runs once more on the same commit, and what its result says of the runs before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fleet.gate_runs import GateRun
from fleet.verdict import TAMPERING, EarlierRun, GateResult, Outcome
from gates.runs.definitions import Definition
from gates.runs.endings import temporary

_ABOUT_US: Final = (Outcome.UNAVAILABLE, Outcome.LOST)
_SHOWN: Final = 5


def runs_again(result: GateResult, definition: Definition) -> bool:
    """Whether one more run may end otherwise. A failure is final, unless the definition says that the gate is
    flaky; what a layer against tampering saw is final always."""
    if result.outcome.red:
        return definition.flaky and not result.reason.startswith(TAMPERING)
    return result.outcome in _ABOUT_US


def unable_there(result: GateResult) -> bool:
    """Whether the machine of this run need not be asked again."""
    return result.outcome is Outcome.UNAVAILABLE and not temporary(
        result.evidence.exit if result.evidence else None
    )


def _earlier(run: str, result: GateResult, *, stale: bool) -> EarlierRun:
    if not stale:
        return EarlierRun(run, result.outcome, result.reason)
    return EarlierRun(run, Outcome.STALE, f"{result.outcome} by a definition that has changed since")


def with_earlier(result: GateResult, definition: Definition, runs: Sequence[GateRun]) -> GateResult:
    """The result with the gate's other closed ``runs`` on this commit, and words about them."""
    earlier = tuple(
        _earlier(run.id, run.result, stale=run.definition_sha256 != definition.sha256)
        for run in runs
        if run.result is not None and run.id != result.run
    )
    if not earlier:
        return result
    number = len(earlier) + 1
    first = number - len(earlier[-_SHOWN:])
    before = [f"run {first + index} {each.outcome}" for index, each in enumerate(earlier[-_SHOWN:])]
    if not result.outcome.opens:
        return replace(result, earlier=earlier, reason=f"{result.reason} (run {number}; {', '.join(before)})")
    words = f"passed on run {number}; {before[-1]}: {earlier[-1].reason.removeprefix(f'{earlier[-1].outcome}: ')}"
    return replace(result, earlier=earlier, notes=(words, *result.notes))
