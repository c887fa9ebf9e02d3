"""Gates against gates: the same run of a gate in two houses, interleaved."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fleet.verdict import Outcome
from tests.bench.harness import compare, report
from tests.scenarios.gate_house import House, Judge

Files = Mapping[str, str | bytes]


def compare_gates(
    title: str,
    ours: tuple[str, Files],
    base: tuple[str, Files],
    change: Callable[[int], Files],
    *,
    bar: float,
    rounds: int,
) -> int:
    """Prints how long a passing gate takes in a repository of ``ours`` and of ``base``: name and files each.

    ``change`` gives the files of each numbered change. The first of each house is not counted. Returns the exit
    status.
    """
    with tempfile.TemporaryDirectory(prefix="bench-gates-") as directory, asyncio.Runner() as runner:
        counter = itertools.count()

        async def judge(opened: Judge) -> None:
            verdict = await opened.pipeline.judge(await opened.candidate(dict(change(next(counter)))))
            assert verdict.outcome is Outcome.PASSED

        def trial(opened: Judge) -> Callable[[], float]:
            def work() -> float:
                started = time.perf_counter()
                runner.run(judge(opened))
                return time.perf_counter() - started

            return work

        rooms = [House(Path(directory) / name, dict(files)).open() for name, files in (ours, base)]
        opened = [runner.run(room.__aenter__()) for room in rooms]
        try:
            for each in opened:
                runner.run(judge(each))
            sides = [(name, trial(each)) for (name, _), each in zip((ours, base), opened, strict=True)]
            found = compare(title, *sides, bar=bar, rounds=rounds)
        finally:
            for room in rooms:
                runner.run(room.__aexit__(None, None, None))
    return report([found])
