"""What the gates' outcomes mean for a change. Pure: nothing here runs, reads or waits.

A policy is gates joined by ``AllOf`` and ``AnyOf``. It cannot be empty: a change that no gate judged is refused,
never passed. A failed gate is about the change; a lost or unavailable one is about us, and the two are never mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fleet.errors import Refused, RepositoryUnusable
from fleet.leaks import Leak
from fleet.ports import Candidate
from fleet.untrusted import clean
from fleet.verdict import GateResult, HeldPlace, Outcome, Verdict
from gates.protected import Touched, one_line


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate with this name must pass."""

    name: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part must pass."""

    parts: tuple[Policy, ...]

    def __post_init__(self) -> None:
        _not_empty(self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One passing part is enough."""

    parts: tuple[Policy, ...]

    def __post_init__(self) -> None:
        _not_empty(self.parts)


Policy = Gate | AllOf | AnyOf


def _not_empty(parts: tuple[Policy, ...]) -> None:
    if not parts:
        raise Refused(
            attempted="judge a change",
            cause="no gate is defined, and a change without a gate never passes",
            hint="add a [gates.NAME] with `run = [...]` to airboss.toml on the base branch",
        )


def every(gates: Iterable[str]) -> AllOf:
    """A repository's policy: all of its gates. Raises ``Refused`` when there are none."""
    return AllOf(tuple(Gate(name) for name in gates))


_ABOUT_US = (Outcome.ABORTED, Outcome.LOST, Outcome.UNAVAILABLE, Outcome.STALE, Outcome.MISSING, Outcome.REFUSED)
_WORST_FIRST = (Outcome.FAILED, *_ABOUT_US)


def evaluate(policy: Policy, outcomes: Mapping[str, Outcome]) -> Outcome:
    """The policy's outcome: passed, failed, or why it is neither. A gate without an outcome is missing."""
    match policy:
        case Gate(name):
            found_of = outcomes.get(name, Outcome.MISSING)
            opens = found_of.opens or found_of is Outcome.HELD  # what is held is looked at apart
            return Outcome.PASSED if opens else Outcome.FAILED if found_of.red else found_of
        case AllOf(parts):
            found = {evaluate(part, outcomes) for part in parts}
            return next((bad for bad in _WORST_FIRST if bad in found), Outcome.PASSED)
        case AnyOf(parts):
            found = {evaluate(part, outcomes) for part in parts}
            if Outcome.PASSED in found:
                return Outcome.PASSED
            # "Failed" only when every alternative was really tried: a lost one might have passed.
            return next(bad for bad in (*_ABOUT_US, Outcome.FAILED) if bad in found)


_REASONS = 20


@dataclass(frozen=True, slots=True)
class Judgement:
    """The content of a verdict; ``gates`` have their final states."""

    outcome: Outcome
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...] = ()


def decide(
    policy: Policy,
    results: Sequence[GateResult],
    held_by: Sequence[Touched],
    *,
    commit: str,
    released: frozenset[str] = frozenset(),
    leaks: Sequence[Leak] = (),
) -> Judgement:
    """The outcome for ``commit``, with one line for each reason. ``results`` may be overridden already.

    ``released`` are the commits that a person released. A commit names its tree and parent, so a release covers
    exactly what the person saw; it never changes a gate's outcome. ``leaks`` are the secrets that nobody released.
    """
    overall = evaluate(policy, {result.gate: result.outcome for result in results})
    gates = tuple(_settled(result, commit in released) for result in results)
    if overall is not Outcome.PASSED:
        told = [result for result in results if not result.outcome.opens and result.outcome is not Outcome.MISSING]
        told = told or [result for result in results if not result.outcome.opens]
        reasons = tuple(f"{result.gate}: {result.reason}" for result in told)
        return Judgement(overall, reasons or ("a gate has no result",), gates)
    places = dict.fromkeys(place for result in results for place in result.held)
    if leaks or ((held_by or places) and commit not in released):
        by_path: dict[str, list[Touched]] = {}
        for item in held_by if commit not in released else ():
            by_path.setdefault(item.path, []).append(item)
        protected = [_protected(path, items) for path, items in by_path.items()]
        if commit not in released:
            protected += [_place(place) for place in places if place.line or place.path not in by_path]
        secrets = [leak.reason for leak in leaks]
        return Judgement(Outcome.HELD, (*_some(secrets, "secrets"), *_some(protected, "places")), gates)
    reasons = tuple(f"{result.gate}: {result.reason}" for result in results)
    if held_by or places:
        reasons += ("a person released what the gates held",)
    if any(result.outcome is Outcome.OVERRIDDEN for result in results):
        return Judgement(Outcome.OVERRIDDEN, reasons, gates)
    return Judgement(Outcome.APPROVED if held_by or places else Outcome.PASSED, reasons, gates)


def not_judged(candidate: Candidate, error: RepositoryUnusable) -> Verdict:
    """The verdict for whoever does not wait until the definitions at the base are right. It is in no ledger."""
    judged, isolation = (candidate.commit, candidate.tree, candidate.base), candidate.session.isolation
    return Verdict(*judged, Outcome.REFUSED, (clean(str(error)),), (), isolation, 0)


def _settled(result: GateResult, released: bool) -> GateResult:
    """The result with its state after a person's part in it."""
    if result.outcome is not Outcome.PASSED or not result.held:
        return result
    return replace(result, outcome=Outcome.APPROVED if released else Outcome.HELD)


def _place(place: HeldPlace) -> str:
    where = f"{one_line(place.path)}:{place.line}" if place.line else one_line(place.path)
    words = f"{where} {clean(place.why)}" if place.path else clean(place.why)
    return f"{words} [layer {place.layer}]" if place.layer else words


def _some(lines: Sequence[str], what: str) -> tuple[str, ...]:
    more = len(lines) - _REASONS
    return (*lines[:_REASONS], *([f"and {more} more {what}"] if more > 0 else ()))


def _protected(path: str, items: Sequence[Touched]) -> str:
    """One line for a path, however many gates and patterns protect it."""
    gates = sorted({item.gate for item in items})
    patterns = ", ".join(dict.fromkeys(item.pattern for item in items))
    who = f"gate {gates[0]} protects" if len(gates) == 1 else f"gates {', '.join(gates)} protect"
    return f"changes {one_line(path)}, which {who} ({patterns})"
