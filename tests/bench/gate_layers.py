"""What the layers add to a pytest gate whose base is known: the gate with all of them, beside it with none.

The suite takes two seconds and the change adds no tests. The promise is that all layers take no longer than the
command itself does: twice its time in all.
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
from tests.scenarios.gate_house import House, Judge
from tests.tampering.corpus import BASE, FIXED

SLOW = "import time\n\n\ndef test_slow():\n    time.sleep(2)\n"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-layers-") as directory, asyncio.Runner() as runner:
        counter = itertools.count()
        toml = str(BASE["airboss.toml"])
        houses = {
            name: House(Path(directory) / name, {**BASE, "airboss.toml": toml + more, "tests/test_slow.py": SLOW})
            for name, more in (("all", ""), ("none", "layers = []\n"))
        }

        async def judge(judge: Judge) -> None:
            files: dict[str, str | bytes] = {"shop/cart.py": f"{FIXED}\n# {next(counter)}\n"}
            verdict = await judge.pipeline.judge(await judge.candidate(files))
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
                "a pytest gate of 2 s, its base known",
                ("all layers", trial(opened["all"])),
                ("none", trial(opened["none"])),
                bar=2.0,
                rounds=7,
            )
        finally:
            for room in rooms.values():
                runner.run(room.__aexit__(None, None, None))
    return report([found])


if __name__ == "__main__":
    sys.exit(main())
