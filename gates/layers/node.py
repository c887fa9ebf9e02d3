"""A gate that runs ``node --test``: the process that reports is node's own, not one of those that run tests.

The report says how each test ended, by name. A further run has tests that must fail, in a process that has loaded
what the change touches: a patched ``assert`` or test runner makes them pass.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from fleet.config import LayerName
from gates.layers.course import PytestCourse, kit, seen_as
from gates.layers.protocol import Change
from gates.layers.report import Baseline, Outcomes, Phase, PhaseReport
from gates.runs.junit import by_name
from gates.runs.place import Run

_CANARIES: Final = "canaries.cjs.txt"
_MODULES: Final = (".js", ".cjs", ".mjs")
_REPORTER: Final = "--test-reporter"


def runs_node_tests(argv: Sequence[str]) -> bool:
    """Whether a command is node's test runner, and can report to us besides its own reporter."""
    program, *words = argv or ("",)
    if posixpath.basename(program) not in ("node", "nodejs") or "--test" not in words:
        return False
    own = [word for word in words if word.split("=", 1)[0] == _REPORTER]
    into = [word for word in words if word.split("=", 1)[0] == f"{_REPORTER}-destination"]
    return len(own) == len(into)


@dataclass(frozen=True, slots=True)
class NodeCourse(PytestCourse):
    """One such gate over one change."""

    def plan(self, run: Run, baseline: Baseline | None) -> dict[str, object]:
        """As for pytest, with other canaries; the base's tests do not run alone."""
        tree = f"{seen_as(run)}/tree"
        modules = [f"{tree}/{path}" for path in touched_modules(self.case.change)]
        return {
            **PytestCourse.plan(self, run, baseline),
            "runner": "node",
            "plugin": "",
            "reporters": reporters(run.definition.argv),
            "canaries": kit(_CANARIES).replace("MODULES", json.dumps(modules)),
            "check": bool(modules) and LayerName.CANARIES in run.definition.layers,
            "remove": [],
            "restore": {},
            "every": False,
        }

    def read(self, report: PhaseReport | None) -> PhaseReport | None:
        """The report, with the results by name of each phase."""
        if report is None:
            return None
        phases = {name: _named(getattr(report, name)) for name in ("head", "base", "again", "check")}
        return msgspec.structs.replace(report, **phases)


def reporters(argv: Sequence[str]) -> str:
    """What makes node's test runner report to us, too, at a descriptor: its own process does, not those of the
    tests."""
    own = any(word.startswith(_REPORTER) for word in argv)
    shown = [] if own else ["--test-reporter=spec", "--test-reporter-destination=stdout"]
    return " ".join([*shown, "--test-reporter=junit", "--test-reporter-destination=/dev/fd/%d"])


def touched_modules(change: Change) -> list[str]:
    """The modules of the base that the change edits, without tests: they are what existing tests load."""
    edited = [each.path for each in change.paths if each.path in change.base and each.path in change.head]
    return [path for path in edited if path.endswith(_MODULES) and not _is_test(path)]


def _is_test(path: str) -> bool:
    name = posixpath.basename(path).rsplit(".", 1)[0]
    return (
        "test" in path.split("/")[:-1]
        or name == "test"
        or name.startswith("test-")
        or name.endswith((".test", "-test", "_test"))
    )


def _named(phase: Phase | None) -> Phase | None:
    if phase is None:
        return None
    found = by_name(phase.report.encode())
    tests: Outcomes = {name: seen for name, seen in found.items() if not phase.token or phase.token not in name}
    # A file that ends without a word is listed by its path, which has the token too: that is no canary.
    canaries = {name: seen for name, seen in found.items() if phase.token and name.startswith(f"{phase.token} ")}
    # What is not closed was cut off: node had not ended its report.
    whole = phase.report.rstrip().endswith("</testsuites>")
    return msgspec.structs.replace(
        phase, hello=whole, end=phase.status if whole else None, tests=tests, canaries=canaries, report=""
    )
