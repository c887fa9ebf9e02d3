"""A gate that runs ``go test``: the process that reports is go's own, by what each package's test binary prints.

A further run has tests that must fail, in each package that has tests, and tests of the base that are inverted. Go
reads them through ``-overlay``, so no file of the checkout changes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fleet.config import LayerName
from gates.layers.course import PytestCourse, kit
from gates.layers.report import PASSED, Baseline, Phase
from gates.runs.place import Run

_CANARIES: Final = "canaries.go.txt"
_RESULTS: Final = "go_results.py"
_GO_TEST: Final = re.compile(r"((?:^|[\s/;&|(])go\s+test)(?=$|[\s;&|)])")
_SHELLS: Final = ("sh", "bash", "dash", "zsh")
_OVERLAY: Final = "-overlay={overlay}"
_ONLY: Final = "-run={only}"
_CHOOSES: Final = re.compile(r"(^|\s)--?(test\.)?(run|skip|bench|fuzz|list)\b")


def runs_go_tests(argv: Sequence[str]) -> bool:
    """Whether a command is ``go test``, or a line of shell with one in it."""
    return bool(asked_for(argv, ()))


def asked_for(argv: Sequence[str], flags: Sequence[str]) -> tuple[str, ...]:
    """The command with more flags for ``go test``; empty: it runs none, or several."""
    program, *words = argv or ("",)
    if posixpath.basename(program) == "go" and words[:1] == ["test"]:
        return (program, "test", *flags, *words[1:])
    if posixpath.basename(program) not in _SHELLS or "-c" not in words[:-1]:
        return ()
    at = words.index("-c") + 1
    quoted = [f"'{flag}'" if "{" in flag else flag for flag in flags]
    line, count = _GO_TEST.subn(lambda found: " ".join((found[1], *quoted)), words[at])
    return (program, *words[:at], line, *words[at + 1 :]) if count == 1 else ()


@dataclass(frozen=True, slots=True)
class GoCourse(PytestCourse):
    """One such gate over one change."""

    def plan(self, run: Run, baseline: Baseline | None) -> dict[str, object]:
        """As for pytest, with other canaries; where a change touches tests, the base's run alone once. A command
        that chooses its tests runs all of them with the canaries."""
        planned = PytestCourse.plan(self, run, baseline)
        argv = tuple(str(word) for word in run.definition.argv)
        words = " ".join(argv).split()
        own = any(word.lstrip("-") in ("json", "json=true") for word in words)
        asked = () if own else ("-json",)
        checked = (*asked, _OVERLAY, *(() if _CHOOSES.search(" ".join(argv)) else (_ONLY,)))
        junit = str(planned["junit"])
        return {
            **planned,
            "runner": "go",
            "argv": [word.replace("{junit}", junit) for word in asked_for(argv, asked)],
            "check_argv": [word.replace("{junit}", junit) for word in asked_for(argv, checked)],
            "verbose": own or any(word.lstrip("-") in ("v", "test.v", "v=true") for word in words),
            "plugin": kit(_RESULTS),
            "canaries": kit(_CANARIES),
            "directories": self._directories(),
            "check": LayerName.CANARIES in run.definition.layers,
        }

    def _directories(self) -> list[str]:
        """Those that have tests on the base."""
        tests = {posixpath.dirname(path) for path in self.case.change.base if path.endswith("_test.go")}
        return sorted(path for path in tests if not {"vendor", "testdata"}.intersection(path.split("/")))


def without_canaries(base: Baseline, check: Phase) -> set[str]:
    """The packages whose tests ran on the base, and in which no canary ran."""
    return {_package(name) for name in base.named(*PASSED)} - {_package(name) for name in check.canaries}


def _package(name: str) -> str:
    return name.split(" ", 1)[0]
