"""What a kept environment adds to a gate run: a gate with a setup of 5,000 files, beside the same gate without.

The promise is under 100 ms: the base is read for its inputs, the environment is looked up and mounted. A command of
half a second stands for the shortest real gate.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fleet.verdict import Outcome
from tests.bench.harness import compare, report
from tests.scenarios.gate_house import House, Judge, airboss_toml

SETUP = """\
[setup.many]
run = ["/bin/sh", "-c", "mkdir made; i=0; while [ $i -lt 5000 ]; do echo $i > made/$i; i=$((i + 1)); done"]
inputs = ["list.txt"]
provides = ["made"]
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-setup-") as directory, asyncio.Runner() as runner:
        counter = itertools.count()
        houses = {
            name: House(
                Path(directory) / name, {"airboss.toml": more + airboss_toml("sleep", "0.5"), "list.txt": ""}
            )
            for name, more in (("with", SETUP), ("without", ""))
        }

        async def judge(judge: Judge) -> None:
            verdict = await judge.pipeline.judge(await judge.candidate({"change.txt": f"{next(counter)}\n"}))
            assert verdict.outcome is Outcome.PASSED

        def trial(opened: Judge) -> Callable[[], float]:
            def work() -> float:
                started = time.perf_counter()
                runner.run(judge(opened))
                return time.perf_counter() - started

            return work

        rooms = {name: house.open() for name, house in houses.items()}
        opened = {name: runner.run(room.__aenter__()) for name, room in rooms.items()}
        try:
            for each in opened.values():
                runner.run(judge(each))
            found = compare(
                "a gate of 0.5 s, its environment kept",
                ("with a setup", trial(opened["with"])),
                ("without", trial(opened["without"])),
                bar=1.2,
                rounds=9,
            )
        finally:
            for room in rooms.values():
                runner.run(room.__aexit__(None, None, None))
    return report([found])


if __name__ == "__main__":
    sys.exit(main())
