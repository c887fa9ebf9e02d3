"""Turns the end of a gate's process into a result. Pure functions."""

from __future__ import annotations

from collections.abc import Callable

from fleet.exits import Lost
from fleet.limits import words_for
from fleet.ports import Ended
from fleet.setup.site import SetupFailed
from fleet.untrusted import clean, tail_that_matters
from fleet.verdict import Evidence, GateResult, JUnitCounts, Outcome
from gates.runs import junit
from gates.runs.definitions import Definition
from gates.runs.endings import outcome_of, words_for_end
from gates.runs.place import Run
from gates.runs.surroundings import limit_hint, network_hint
from gates.runs.watch import GateOutput


def result_of(
    run: Run,
    ended: Ended,
    seen: GateOutput,
    report: junit.Report | None,
    *,
    given_up: str,
    redact: Callable[[str], str] | None,
) -> GateResult:
    """The result of a run. ``given_up``: why the run does not count, if it does not."""
    counts = report.counts if report else None
    outcome, reason = judge_end(ended, run.candidate.tree, counts)
    if run.kept and outcome is Outcome.UNAVAILABLE and ended.tree != run.candidate.tree:
        outcome, reason = Outcome.LOST, f"lost: something changed the kept checkout: {reason}"
    if given_up:
        outcome, reason = Outcome.ABORTED, f"aborted: {given_up} ({reason})"
    text = seen.text()
    evidence = Evidence(
        exit=ended.exit,
        raw_wait_status=ended.raw_wait_status,
        tree=ended.tree,
        machine=run.place.machine,
        login=ended.login or run.place.facts.user,
        contained=ended.contained,
        output_sha256=seen.digest.hexdigest(),
        output_bytes=seen.size,
        started_us=ended.started_us,
        ended_us=ended.ended_us,
        isolation=ended.isolation,
        limits=ended.limits,
        reached=ended.reached,
        left=ended.left,
    )
    text = clean(text, len(text))  # first, since a terminal code inside a secret would hide it from the redactor
    tail = tail_that_matters(redact(text) if redact else text)
    if report and report.failures:
        tail = f"{report.failures}\n\n{tail}"
    if ended.reached:
        reason = f"{reason}; {words_for(ended.reached)}"
        tail = f"{words_for(ended.reached)}\n{tail}"
    hint = network_hint(run, text.splitlines()) or ("" if ended.reached else limit_hint(ended.limits, text))
    if hint and outcome.red:
        reason, tail = f"{reason}; {hint}", f"{hint}\n{tail}"
    name, argv, failed = run.definition.name, run.definition.argv, report.failed if report else ()
    return GateResult(run.id, name, argv, outcome, reason, evidence, counts, tail, failed=failed)


def unavailable(run_id: str, definition: Definition, reason: str) -> GateResult:
    """The result of a run that could not be done; ``reason`` is shown to people."""
    outcome, words = Outcome.UNAVAILABLE, clean(reason)
    return GateResult(run_id, definition.name, definition.argv, outcome, words, None, None, "")


def setup_failed(run: Run, failed: SetupFailed) -> GateResult:
    """The result of a run whose setup failed: about the change where it changed what that setup reads."""
    changed = failed.setup in {each.setup.name for each in run.plan.changed}
    outcome = Outcome.FAILED if changed else Outcome.UNAVAILABLE
    reason = clean(f"{failed} (with what this change gives it)" if changed else str(failed))
    return GateResult(run.id, run.definition.name, run.definition.argv, outcome, reason, None, None, failed.lines)


def judge_end(ended: Ended, tree: str, counts: JUnitCounts | None) -> tuple[Outcome, str]:
    """The outcome of an ended gate process, and a line to show. Only ``Exited(0)`` over ``tree`` passes."""
    if ended.unavailable:
        return Outcome.UNAVAILABLE, ended.unavailable
    if isinstance(ended.exit, Lost):
        return Outcome.LOST, str(ended.exit)
    if ended.tree != tree:
        return Outcome.LOST, f"the supervisor hashed the tree {ended.tree or '(none)'}, not {tree}"
    reason = words_for_end(ended.exit)
    if counts is not None:
        bad = counts.failures + counts.errors
        reason += f" ({bad} of {counts.tests} tests failed, by its own report)"
    return outcome_of(ended.exit), reason
