"""A pytest gate with its layers: the base's runs unless they are known, the change's, and one with canaries.

One process on the machine, the launcher, makes all of these runs and seals what it saw with a key that no tested
code can read. The base's results are kept in ``AIRBOSS_HOME/gates/baselines``, by tree, definition and machine.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import posixpath
import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Final

from fleet.config import LayerName
from fleet.exits import Exited, TimedOut
from fleet.isolation import INSIDE
from fleet.ports import PipeSpec
from fleet.untrusted import clean
from fleet.verdict import TAMPERING, GateResult, JUnitCounts, Outcome
from gates.layers.kept import KeptBaselines
from gates.layers.paths import is_test
from gates.layers.protocol import Case, Layer, LayerFinding, Runs, signed, total
from gates.layers.report import FAILED, Baseline, PhaseReport, baseline_of, unseal
from gates.layers.tools import new_modules
from gates.runs.course import REPORT, Equipped
from gates.runs.junit import shown_names
from gates.runs.place import Run, bare_path

_KEY: Final = "AIRBOSS_LAYERS_KEY"
_PYTHON: Final = re.compile(r"(pypy|python)[\d.]*")
_BY_RUNS: Final = frozenset({LayerName.BASELINE, LayerName.CANARIES})
_PLAN: Final = "plan.json"
_FILES: Final = (
    "launcher.py",
    "pytest_plugin.py",
    "pytest_watching.py",
    "pytest_equality.py",
    "pytest_hiding.py",
    "pytest_swallowing.py",
    "pytest_outside.py",
    "canaries.py.txt",
    "go_results.py",
    "canaries.go.txt",
)
#: The exit status of a launcher that could not do its own part; it then leaves no report.
_LAUNCHER_FAILED: Final = 125
_JUDGED: Final = (Outcome.PASSED, Outcome.FAILED, Outcome.TIMED_OUT)
#: How much longer a run with canaries may take: it does not use several processes.
SLOWER: Final = 4
#: Files that the run with canaries loads before the tests.
_MOST_EDITED: Final = 200
_QUICK_PHASES: Final = 2
_SLOW_PHASES: Final = 2


@dataclass(frozen=True, slots=True)
class PytestCourse:
    """One gate over one change. ``base_tree`` is the tree of the base, ``kept`` where baselines are kept."""

    case: Case
    layers: tuple[Layer, ...]
    base_tree: str
    kept: Path

    def runs_base(self, run: Run) -> bool:
        return self._kept().get(self._depends_on(run)) is None

    def equip(self, run: Run, spec: PipeSpec) -> Equipped:
        program, root = spec.argv[0], seen_as(run)
        known = _PYTHON.fullmatch(posixpath.basename(program)) and (program.startswith("/") or "/" not in program)
        baseline = self._kept().get(self._depends_on(run))
        plan = json.dumps(self.plan(run, baseline)).encode()
        # The code comes with the command, and the digest of its plan: no file of the login can replace them.
        argv = ("-I", "-S", "-c", kit("launcher.py"), f"{root}/{_PLAN}", hashlib.sha256(plan).hexdigest())
        base = () if baseline else ((f"{run.room}/base/tree", self.base_tree),)
        walls = spec.walls
        if walls is not None and base:
            walls = replace(walls, given=(*walls.given, *run.environment.base_mounts))
        return Equipped(
            base="" if baseline else run.candidate.base,
            files={_PLAN: plan},
            spec=replace(
                spec,
                argv=(program if known else "python3", *argv),
                # The launcher's own Python is the machine's, never one that a change may have chosen.
                env={**spec.env, "PATH": bare_path(run.place.config), _KEY: _key(run)},
                walls=walls,
                timeout_us=spec.timeout_us * (_QUICK_PHASES + _SLOW_PHASES * SLOWER),
                expect_trees=(*spec.expect_trees, *base),
            ),
        )

    async def judge(self, run: Run, result: GateResult, report: bytes | None) -> GateResult:
        seen = self.read(unseal(report, _key(run)) if report is not None else None)
        if seen is None:
            return _without_report(result) if result.outcome in _JUDGED else result
        if result.outcome not in (*_JUDGED, Outcome.UNAVAILABLE):
            return result
        baseline = await asyncio.to_thread(self._keep, run, seen)
        baseline = baseline or await asyncio.to_thread(self._kept().get, self._depends_on(run))
        return await asyncio.to_thread(self._judged, result, seen, baseline)

    def read(self, report: PhaseReport | None) -> PhaseReport | None:
        """The report, with the results by name."""
        return report

    def plan(self, run: Run, baseline: Baseline | None) -> dict[str, object]:
        """What the launcher is told to do."""
        root = seen_as(run)
        remove, restore = self._tests()
        junit = f"{root}/report/junit.xml"
        return {
            "runner": "pytest",
            "argv": [word.replace("{junit}", junit) for word in run.definition.argv],
            "path": run.environment.path(f"{root}/tree"),
            "provided": sorted(each.path for each in run.environment.tree),
            "tree": f"{root}/tree",
            "base": "" if baseline else f"{root}/base/tree",
            "timeout": run.definition.timeout_us / 1_000_000,
            "slower": SLOWER,
            "report": f"{root}/{REPORT}",
            "junit": junit,
            "alone": run.place.facts.walled,
            "quarantine": sorted(self.case.quarantined),
            "plugin": kit("pytest_plugin.py"),
            "watching": kit("pytest_watching.py"),
            "equality": kit("pytest_equality.py"),
            "hiding": kit("pytest_hiding.py"),
            "swallowing": kit("pytest_swallowing.py"),
            "outside": kit("pytest_outside.py"),
            "canaries": kit("canaries.py.txt"),
            "baseline": baseline.tests if baseline else None,
            "broken": baseline.broken if baseline else [],
            "watched": baseline is None or baseline.watched,
            "names": sorted(new_modules(self.case.change)),
            "edited": self._edited(),
            "check": not _BY_RUNS.isdisjoint(run.definition.layers),
            "remove": remove,
            "restore": restore,
            "every": bool(remove or restore),
        }

    # --- parts ----------------------------------------------------------------------------------------

    def _tests(self) -> tuple[list[str], dict[str, tuple[str, bool]]]:
        """The tests that the change adds; the base's bytes of those that it changes or deletes, and whether they
        can be executed."""
        change = self.case.change
        tests = [each.path for each in change.paths if is_test(each.path)]
        added = [path for path in tests if path not in change.base]
        old = {path: change.old[path] for path in tests if path in change.old}
        restore = {
            path: (base64.b64encode(data).decode(), change.base[path].mode == "100755")
            for path, data in old.items()
        }
        return added, restore

    def _edited(self) -> list[str]:
        """The Python files that the change edits, tests aside."""
        change = self.case.change
        paths = [each.path for each in change.paths if each.path.endswith(".py") and not is_test(each.path)]
        return [path for path in paths if path in change.head][:_MOST_EDITED]

    def _kept(self) -> KeptBaselines:
        return KeptBaselines(self.kept)

    def _depends_on(self, run: Run) -> tuple[str, ...]:
        """What the base's results depend on."""
        facts, config = run.place.facts, run.place.config
        return (
            self.base_tree,
            run.definition.sha256,
            run.plan.base_sha256,
            run.place.machine,
            facts.system,
            facts.python,
            str(facts.walled),
            ":".join(config.gate_path),
            *sorted(self.case.quarantined),
            *map(kit, _FILES),
        )

    def _keep(self, run: Run, seen: PhaseReport) -> Baseline | None:
        if seen.base is None:
            return None
        baseline = baseline_of(seen.base, seen.again)
        # How a run was cut short says nothing about the base: the next change asks again.
        if seen.base.whole and (seen.again is None or seen.again.whole):
            self._kept().put(self._depends_on(run), baseline)
        return baseline

    def _quarantined(self, result: GateResult, seen: PhaseReport) -> GateResult:
        """The result with what failed and does not count, in words."""
        failed = self.case.quarantined & seen.head.named("xfailed")
        known = {each.test: each for each in self.case.definition.quarantine}
        words = tuple(
            clean(
                f"in quarantine, and failed: {name} ({known[name].reason}; {known[name].person}, until "
                f"{known[name].until.isoformat()})"
            )
            for name in sorted(failed)
        )
        return replace(result, notes=(*result.notes, *words), quarantined=shown_names(failed))

    def _judged(self, result: GateResult, seen: PhaseReport, baseline: Baseline | None) -> GateResult:
        head = seen.head
        if head.missing:
            return replace(result, outcome=Outcome.UNAVAILABLE, reason=head.missing)
        if result.junit is None and head.hello:
            failed = shown_names(head.named(*FAILED))
            result = replace(result, junit=_counts(seen), failed=failed)
        if head.late and result.evidence is not None:
            exit_ = TimedOut(int(head.seconds * 1_000_000))
            evidence = replace(result.evidence, exit=exit_)
            return replace(result, outcome=Outcome.TIMED_OUT, evidence=evidence, reason=str(exit_))
        if baseline is None:
            why = "lost: the base's results are gone"
            lost = replace(result, outcome=Outcome.LOST, reason=why)
            return lost if result.outcome is Outcome.PASSED else result
        result = self._quarantined(result, seen)
        found: LayerFinding = total(_signed(layer, self.case, Runs(baseline, seen)) for layer in self.layers)
        notes = (*result.notes, *found.notes)
        if found.failed and result.outcome is Outcome.PASSED:
            reason = f"{TAMPERING}{'; '.join(found.failed)}"
            tail = "\n".join([*found.failed, result.tail])
            result = replace(result, outcome=Outcome.FAILED, reason=reason, tail=tail)
        elif result.outcome is Outcome.PASSED:
            notes = (_made(seen), *notes)
        return replace(result, held=(*result.held, *found.held), notes=notes)


def _signed(layer: Layer, case: Case, runs: Runs) -> LayerFinding:
    """What a layer finds in the runs; each reason to fail names the layer."""
    found = signed(layer, layer.judge(case, runs))
    failed = tuple(f"layer {layer.number} ({layer.name}): {why}" for why in found.failed)
    return replace(found, failed=failed)


def _made(seen: PhaseReport) -> str:
    """How many runs a gate made, and why."""
    runs = [f"the base {'twice' if seen.again else 'once'}"] if seen.base else []
    runs.append("the change")
    if seen.alone:
        runs.append("the base's tests on it")
    if seen.check:
        extra = f"{len(seen.check.canaries)} canaries and {len(seen.check.inverted)} inverted"
        runs.append(f"its tests with {extra}" if seen.check.every else extra)
    count = sum(phase is not None for phase in (seen.base, seen.again, seen.head, seen.alone, seen.check))
    return f"{count} run{'s' if count != 1 else ''}: {', '.join(runs)}"


def _counts(seen: PhaseReport) -> JUnitCounts:
    head = seen.head
    failures, errors = head.named("failed"), head.named("error")
    return JUnitCounts(len(head.tests), len(failures), len(errors), len(head.named("skipped", "xfailed")))


def seen_as(run: Run) -> str:
    """The run's directory, as the run sees it."""
    return INSIDE if run.place.facts.walled else run.room


def _key(run: Run) -> str:
    return hmac.new(run.nonce.encode(), b"layers", hashlib.sha256).hexdigest()


@cache
def kit(name: str) -> str:
    """A file that is sent along with a run."""
    return (package_files("gates.layers.kit") / name).read_text("utf-8")


def _without_report(result: GateResult) -> GateResult:
    """Without a sealed report nothing passes. A launcher that failed says nothing about the change."""
    ended = result.evidence.exit if result.evidence else None
    if result.outcome is Outcome.PASSED or ended == Exited(_LAUNCHER_FAILED):
        why = "lost: no trusted report of the test results"
        return replace(result, outcome=Outcome.LOST, reason=why)
    return replace(result, reason=f"{result.reason}; there is no trusted report of the test results")
