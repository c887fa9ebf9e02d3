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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path
from typing import Final

import msgspec

from fleet import files
from fleet.config import LayerName
from fleet.exits import TimedOut
from fleet.isolation import INSIDE
from fleet.ports import PipeSpec
from fleet.verdict import GateOutcome, GateResult, JUnitCounts
from gates.layers.paths import is_test
from gates.layers.protocol import Case, Layer, LayerFinding, Runs, total
from gates.layers.report import Baseline, PhaseReport, baseline_of, unseal
from gates.layers.tools import new_modules
from gates.runs.course import REPORT
from gates.runs.place import Run

_KEY: Final = "AIRBOSS_LAYERS_KEY"
_PYTHON: Final = re.compile(r"(pypy|python)[\d.]*")
_BY_RUNS: Final = frozenset({LayerName.BASELINE, LayerName.CANARIES})
_PHASES: Final = 4


@dataclass(frozen=True, slots=True)
class PytestCourse:
    """One gate over one change. ``base_tree`` is the tree of the base, ``kept`` where baselines are kept."""

    case: Case
    layers: tuple[Layer, ...]
    base_tree: str
    kept: Path

    def base(self, run: Run) -> str:
        return "" if self._baseline(run) else run.candidate.base

    def files(self, run: Run) -> Mapping[str, bytes]:
        kit = {f"kit/{name}": data for name, data in _kit().items() if name != "launcher.py"}
        plan = json.dumps(self._plan(run)).encode()
        return {"launcher.py": _kit()["launcher.py"], "plan.json": plan, **kit}

    def process(self, run: Run, spec: PipeSpec) -> PipeSpec:
        program = spec.argv[0]
        known = _PYTHON.fullmatch(posixpath.basename(program)) and (program.startswith("/") or "/" not in program)
        root = _seen_as(run)
        return replace(
            spec,
            argv=(program if known else "python3", "-I", "-S", f"{root}/launcher.py", f"{root}/plan.json"),
            env={**spec.env, _KEY: _key(run)},
            timeout_us=spec.timeout_us * _PHASES,
        )

    async def judge(self, run: Run, result: GateResult, report: bytes | None) -> GateResult:
        if result.outcome not in (GateOutcome.PASSED, GateOutcome.FAILED):
            return result
        seen = unseal(report, _key(run)) if report is not None else None
        if seen is None:
            if result.outcome is GateOutcome.FAILED:
                return result
            return replace(result, outcome=GateOutcome.LOST, reason="lost: no trusted report of the test results")
        baseline = await asyncio.to_thread(self._keep, run, seen) or await asyncio.to_thread(self._baseline, run)
        return await asyncio.to_thread(self._judged, result, seen, baseline)

    # --- parts ----------------------------------------------------------------------------------------

    def _plan(self, run: Run) -> dict[str, object]:
        root, baseline = _seen_as(run), self._baseline(run)
        remove, restore = self._tests()
        junit = f"{root}/report/junit.xml"
        return {
            "argv": [word.replace("{junit}", junit) for word in run.definition.argv],
            "tree": f"{root}/tree",
            "base": "" if baseline else f"{root}/base/tree",
            "timeout": run.definition.timeout_us / 1_000_000,
            "report": f"{root}/{REPORT}",
            "junit": junit,
            "alone": run.place.facts.walled,
            "plugin": f"{root}/kit/pytest_plugin.py",
            "canaries": f"{root}/kit/canaries.py.txt",
            "baseline": baseline.tests if baseline else None,
            "watched": baseline is None or baseline.watched,
            "names": sorted(new_modules(self.case.change)),
            "check": not _BY_RUNS.isdisjoint(run.definition.layers),
            "remove": remove,
            "restore": restore,
            "every": bool(remove or restore),
        }

    def _tests(self) -> tuple[list[str], dict[str, str]]:
        """The tests that the change adds, and the base's bytes of those that it changes or deletes."""
        change = self.case.change
        tests = [each.path for each in change.paths if is_test(each.path)]
        added = [path for path in tests if path not in change.base]
        old = {path: change.old[path] for path in tests if path in change.old}
        return added, {path: base64.b64encode(data).decode() for path, data in old.items()}

    def _path(self, run: Run) -> Path:
        """Where the base's results on this kind of machine are kept."""
        facts = run.place.facts
        parts = (
            self.base_tree,
            run.definition.sha256,
            run.place.machine,
            facts.system,
            str(facts.walled),
            *(hashlib.sha256(data).hexdigest() for data in _kit().values()),
        )
        return self.kept / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}.json"

    def _baseline(self, run: Run) -> Baseline | None:
        try:
            return msgspec.json.decode(self._path(run).read_bytes(), type=Baseline)
        except (OSError, msgspec.DecodeError):
            return None

    def _keep(self, run: Run, seen: PhaseReport) -> Baseline | None:
        if seen.base is None:
            return None
        baseline = baseline_of(seen.base, seen.again)
        path = self._path(run)
        with files.writing("keep the base's test results", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, msgspec.json.encode(baseline))
        return baseline

    def _judged(self, result: GateResult, seen: PhaseReport, baseline: Baseline | None) -> GateResult:
        head = seen.head
        if head.missing:
            return replace(result, outcome=GateOutcome.UNAVAILABLE, reason=head.missing)
        if result.junit is None and head.hello:
            result = replace(result, junit=_counts(seen))
        if head.late and result.evidence is not None:
            exit_ = TimedOut(int(head.seconds * 1_000_000))
            return replace(result, evidence=replace(result.evidence, exit=exit_), reason=str(exit_))
        if baseline is None:
            why = "lost: the base's results are gone"
            lost = replace(result, outcome=GateOutcome.LOST, reason=why)
            return lost if result.outcome is GateOutcome.PASSED else result
        found: LayerFinding = total(layer.judge(self.case, Runs(baseline, seen)) for layer in self.layers)
        notes = (*result.notes, *found.notes)
        if found.failed and result.outcome is GateOutcome.PASSED:
            reason = f"tampering: {'; '.join(found.failed)}"
            tail = "\n".join([*found.failed, result.tail])
            result = replace(result, outcome=GateOutcome.FAILED, reason=reason, tail=tail)
        elif result.outcome is GateOutcome.PASSED:
            result = replace(result, reason=f"{result.reason}; {_made(seen)}")
        return replace(result, held=(*result.held, *found.held), notes=notes)


def _made(seen: PhaseReport) -> str:
    """How many runs a gate made, and why."""
    runs = [f"the base {'twice' if seen.again else 'once'}"] if seen.base else []
    runs.append("the change")
    if seen.check:
        extra = f"{len(seen.check.canaries)} canaries and {len(seen.check.inverted)} inverted"
        runs.append(f"its tests with {extra}" if seen.check.every else extra)
    count = sum(phase is not None for phase in (seen.base, seen.again, seen.head, seen.check))
    return f"{count} run{'s' if count != 1 else ''}: {', '.join(runs)}"


def _counts(seen: PhaseReport) -> JUnitCounts:
    head = seen.head
    failures, errors = head.named("failed"), head.named("error")
    return JUnitCounts(len(head.tests), len(failures), len(errors), len(head.named("skipped", "xfailed")))


def _seen_as(run: Run) -> str:
    return INSIDE if run.place.facts.walled else run.room


def _key(run: Run) -> str:
    return hmac.new(run.nonce.encode(), b"layers", hashlib.sha256).hexdigest()


def _kit() -> dict[str, bytes]:
    room = package_files("gates.layers.kit")
    return {name: (room / name).read_bytes() for name in ("launcher.py", "pytest_plugin.py", "canaries.py.txt")}
