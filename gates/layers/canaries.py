"""Layer 5: tests that must fail do fail: canaries with random names, and tests of the base that are inverted."""

from __future__ import annotations

from typing import Final

from fleet.config import LayerName
from fleet.verdict import NOT_AVAILABLE, HeldPlace
from gates.layers.go import without_canaries
from gates.layers.protocol import Case, LayerFinding, Runs, Toolchain, some
from gates.layers.report import FAILED, PASSED, Phase, unharmed

_SWALLOWED: Final = "fails in a test that passes all the same: what it tests keeps the failure to itself"


class Canaries:
    """Judges the run in which tests had to fail."""

    number = 5
    name = LayerName.CANARIES

    def inspect(self, case: Case) -> LayerFinding:
        return LayerFinding()

    def judge(self, case: Case, runs: Runs) -> LayerFinding:
        base, check = runs.baseline, runs.report.check
        if case.toolchain is Toolchain.NODE:
            return _of_node(check)
        if not base.watched or not base.canaries:
            return LayerFinding(notes=(f"{self.name}: {NOT_AVAILABLE}: they did not fail on the base",))
        if check is None:
            return LayerFinding()  # the gate failed before
        failed = []
        if check.late:
            took = f"the run with canaries took longer than {check.seconds:.0f} s, and was ended"
            return LayerFinding(held=(HeldPlace("", 0, took),))
        if not check.hello or check.end is None or not check.canaries:
            failed.append("the run with canaries ended before it had reported its results")
        quiet = unharmed(check)
        if quiet:
            failed.append(f"{len(quiet)} of {len(check.canaries)} canaries did not fail: test results are forged")
        passed = sorted(set(check.inverted) & check.named(*PASSED))
        if passed:
            failed.append(f"inverted, and passed all the same: {', '.join(passed[:5])}")
        if check.status == 0 and base.agrees and not failed:
            failed.append("canaries failed, and the exit status was 0 all the same")
        held = []
        seen = set(check.hidden) & runs.report.head.named(*PASSED) - set(check.bodies) - set(base.unstable)
        if seen and not failed:
            held.append(HeldPlace("", 0, f"passes only while it can be seen that it is a test: {some(seen)}"))
        if check.outside and not seen and not failed:
            held.append(HeldPlace("", 0, f"fails in a program that no test runner started: {some(check.outside)}"))
        held += [HeldPlace(path, line, _SWALLOWED) for path, line in dict.fromkeys(check.swallowed) if not failed]
        if case.toolchain is Toolchain.GO and not failed and (left := without_canaries(base, check)):
            held.append(HeldPlace("", 0, f"no canary ran in {some(left)}, which has tests on the base"))
        return LayerFinding(tuple(failed), tuple(held))


def _of_node(check: Phase | None) -> LayerFinding:
    if check is None:
        return LayerFinding()  # the gate failed before, or the change edits no module
    if not check.canaries:
        why = "the tests that must fail did not run: an edited module ends or stops the process that loads it"
        return LayerFinding(held=(HeldPlace("", 0, why),))
    quiet = unharmed(check)
    if not quiet and check.status != 0:
        return LayerFinding()
    why = f"{len(quiet)} of {len(check.canaries)} canaries did not fail: an edited module patches what runs tests"
    return LayerFinding((why if quiet else "canaries failed, and the exit status was 0 all the same",))


def broken_without_new_tests(runs: Runs) -> set[str]:
    """Tests of the base that pass on the change, but not in a tree that has the base's tests only."""
    check, head, alone = runs.report.check, runs.report.head, runs.report.alone
    if alone is not None:
        passed = alone.named(*PASSED)
    elif check is None or not check.every or check.end is None:
        return set()
    else:
        inverted = set(check.inverted)
        passed = (check.named(*PASSED) - inverted) | (inverted & set(check.bodies))
    return (head.named(*PASSED) | runs.baseline.named(*PASSED)) & runs.baseline.named(*PASSED, *FAILED) - passed
