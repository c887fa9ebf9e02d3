"""Layer 4: results by name. A test that the base has is still there, still runs, and still passes."""

from __future__ import annotations

from fleet.config import LayerName
from fleet.verdict import NOT_AVAILABLE, HeldPlace
from gates.layers.protocol import Case, LayerFinding, Runs, some
from gates.layers.report import FAILED, PASSED


class ByName:
    """Compares the change's run with the base's, test by test."""

    number = 4
    name = LayerName.BASELINE

    def inspect(self, case: Case) -> LayerFinding:
        return LayerFinding()

    def judge(self, case: Case, runs: Runs) -> LayerFinding:
        head, base = runs.report.head, runs.baseline
        if not base.watched:
            return LayerFinding(
                notes=(f"{self.name}: {NOT_AVAILABLE}: the base's own run gave no results by name",)
            )
        if head.status != 0:
            return LayerFinding()
        if not head.hello or head.end is None:
            return LayerFinding(failed=("exit status 0 before the test runner reported its results",))
        failed: list[str] = []
        red = head.named(*FAILED)
        if head.end != 0 and base.agrees:
            failed.append(f"exit status 0, but the test runner ended with {head.end}")
        if red and base.agrees:
            failed.append(f"exit status 0, but {some(red)} failed")
        if head.forked:
            failed.append("results came from a forked process")
        if head.broken and base.agrees:
            failed.append(f"exit status 0, but {some(head.broken)} could not be collected")
        if base.named(*PASSED, *FAILED) and not head.named(*PASSED, *FAILED):
            failed.append("no test ran, and the base has some")
        newly_red = base.named(*PASSED) & red
        if newly_red and not base.agrees:
            failed.append(f"passed on the base and failed now: {some(newly_red)}")
        known = base.named(*PASSED, *FAILED)
        gone = known - head.tests.keys()
        skipped = known & (head.named("skipped") | (head.named("xfailed") - case.quarantined))
        held = []
        if gone:
            held.append(HeldPlace("", 0, f"ran on the base and is gone: {some(gone)}"))
        if skipped:
            held.append(HeldPlace("", 0, f"ran on the base and is skipped now: {some(skipped)}"))
        ran = head.named(*PASSED, *FAILED)
        never = [each for each in base.broken if not any(name.startswith(each) for name in ran)]
        if never and not red:
            held.append(
                HeldPlace("", 0, f"could not be loaded on the base, and has no test that runs now: {some(never)}")
            )
        notes = [f"left out, since the base's own runs differ: {some(base.unstable)}"] if base.unstable else []
        return LayerFinding(tuple(failed), tuple(held), tuple(notes))
