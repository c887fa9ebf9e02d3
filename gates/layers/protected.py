"""Layer 3: tests and snapshots that exist on the base stay as they are. Adding tests is free."""

from __future__ import annotations

from fleet.config import LayerName
from fleet.git.changes import ChangedPath
from fleet.verdict import HeldPlace
from gates.layers.additive import only_adds_tests
from gates.layers.canaries import broken_without_new_tests
from gates.layers.grammars import LANGUAGES
from gates.layers.helping import of_helpers, of_names
from gates.layers.paths import configures, is_test, is_test_module
from gates.layers.protocol import Case, Change, LayerFinding, Runs, some

_DONE = {"M": "changes", "D": "deletes", "T": "changes the type of"}


class Protected:
    """Holds what changes or deletes a test."""

    number = 3
    name = LayerName.PROTECTED

    def inspect(self, case: Case) -> LayerFinding:
        held = [
            HeldPlace(path.path, 0, f"{_DONE.get(path.status, 'changes')} a test of the base")
            for path in case.change.paths
            if path.status != "A" and is_test(path.path) and not is_free(case.change, path)
        ]
        return LayerFinding(held=(*held, *of_helpers(case.change)))

    def judge(self, case: Case, runs: Runs) -> LayerFinding:
        broken = broken_without_new_tests(runs) - case.quarantined
        tests = [each for each in case.change.paths if is_test(each.path)]
        hidden = runs.report.check.hidden if runs.report.check else ()  # these may fail for want of what is hidden
        sure = bool(broken.difference(hidden))
        sure = sure and all(is_test_module(each.path) and is_free(case.change, each) for each in tests)
        failed = [f"fails with the base's tests alone: {some(broken)}"] if broken and sure else []
        rewritten = set(runs.report.head.rewritten) - set(runs.baseline.rewritten)
        held = [
            HeldPlace(path, 0, "was rewritten while the tests ran")
            for path in sorted(rewritten)
            if is_test(path) or path.endswith((".py", *LANGUAGES)) or configures(path)
        ]
        if broken and not sure:
            held.append(
                HeldPlace(
                    "",
                    0,
                    f"fails with the base's tests and their data, passes with the changed ones: {some(broken)}",
                )
            )
        held += _other_functions(case.change, runs)
        held += of_names(case.change, runs.baseline.tests, runs.baseline.data)
        return LayerFinding(tuple(failed), tuple(held))


def _other_functions(change: Change, runs: Runs) -> list[HeldPlace]:
    """Tests in files that did not change, whose functions are others than on the base; names that were replaced."""
    changed = {each.path for each in change.paths}
    base, head = runs.baseline, runs.report.head
    others = {
        name
        for name in base.at.keys() & head.at.keys()
        if _is_other(base.at[name], head.at[name]) and base.at[name].split(":")[0] in change.base.keys() - changed
    }
    why = "the function is not the one in its file, or gets other values"
    held = [HeldPlace("", 0, f"{why}: {some(others)}")] if others else []
    new = sorted(set(head.replaced) - set(base.replaced))
    new = [(path, name) for path, name in new if path in change.base or not is_test(path)]
    return held + [HeldPlace(path, 0, f"{name} was replaced while the tests ran") for path, name in new]


def _is_other(before: str, now: str) -> bool:
    """Whether a test's function is another one, or gets other values. An object may have more than before."""
    (function, _, values), (same, _, known) = before.partition("|"), now.partition("|")
    return function != same or not set(values.split()) <= set(known.split())


def is_free(change: Change, path: ChangedPath) -> bool:
    """Whether a changed path only adds tests: a new test file, or more tests in one that exists."""
    if not is_test(path.path) or configures(path.path):
        return False
    if path.status == "A":
        return True
    old, new = change.old.get(path.path), change.new.get(path.path)
    same_mode = path.status == "M" and change.base[path.path].mode == change.head[path.path].mode
    if old is None or new is None or not same_mode or not path.path.endswith(".py"):
        return False
    return only_adds_tests(old, new)
