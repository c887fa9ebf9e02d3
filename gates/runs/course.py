"""How a gate run differs from running its command once: the port that the layers against tampering implement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fleet.ports import PipeSpec
from fleet.verdict import GateResult
from gates.runs.place import Run


@dataclass(frozen=True, slots=True)
class Equipped:
    """What a run needs: the commit to check out as ``base`` beside the tree (empty: none), the files to write into
    the run's directory, and the process that makes all its runs."""

    base: str
    files: Mapping[str, bytes]
    spec: PipeSpec


class Course(Protocol):
    """Several runs of one command, as one process. Nothing is remembered between the calls: after a crash, the same
    change gives the same course."""

    def runs_base(self, run: Run) -> bool:
        """Whether the base is run too, in a directory of its own that takes the place of the run's tree."""

    def equip(self, run: Run, spec: PipeSpec) -> Equipped:
        """What to put in place, and what to start instead of ``spec``. Called once for each run."""

    async def judge(self, run: Run, result: GateResult, report: bytes | None) -> GateResult:
        """The gate's result. ``report`` is what the process left at ``REPORT``; ``None``: nothing."""


REPORT = "report/layers.json"
REPORT_LIMIT = 64 << 20
