"""How a gate run differs from running its command once: the port that the layers against tampering implement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fleet.ports import PipeSpec
from fleet.verdict import GateResult
from gates.runs.place import Run


class Course(Protocol):
    """Several runs of one command, as one process. Nothing is remembered between the calls: after a crash, the same
    change gives the same course."""

    def base(self, run: Run) -> str:
        """The commit to check out as ``base`` beside the tree; empty: none."""

    def files(self, run: Run) -> Mapping[str, bytes]:
        """Files to write into the run's directory before it starts."""

    def process(self, run: Run, spec: PipeSpec) -> PipeSpec:
        """The process that runs them all."""

    async def judge(self, run: Run, result: GateResult, report: bytes | None) -> GateResult:
        """The gate's result. ``report`` is what the process left at ``REPORT``; ``None``: nothing."""


REPORT = "report/layers.json"
REPORT_LIMIT = 64 << 20
