"""A gate on trees of 5,000 files (10 MB) and 50,000 (200 MB), beside ``git worktree add`` and ``remove`` of each.

The command does nothing, so what is measured is all that a gate run costs beyond it: the change is read, the kept
checkout moved by it and hashed whole, the layer mounted, the end recorded, the layer removed. As root the overlay
is a privileged one; as any other login, one in a user namespace.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fleet.verdict import Outcome
from tests.bench.harness import Comparison, Trial, compare, report, timed
from tests.scenarios.gate_house import Files, House, Judge, airboss_toml

SIZES = ((5_000, 2_000), (50_000, 4_000))
BAR = 1.0


def _files(count: int, size: int) -> Files:
    dice = random.Random(1)
    many: Files = {
        f"d{number % 50}/s{number % 7}/f{number}.py": f"# {dice.getrandbits(8 * size // 2):x}\n"[:size]
        for number in range(count)
    }
    return {**many, "airboss.toml": airboss_toml("true", more="layers = []")}


def _worktree(work: Path, to: Path) -> Trial:
    def both() -> None:
        for words in (("add", "--quiet", "--detach", str(to), "HEAD"), ("remove", "--force", str(to))):
            subprocess.run(["git", "-C", str(work), "worktree", *words], check=True, capture_output=True)

    return timed(both)


def _measured(directory: Path, count: int, size: int, runner: asyncio.Runner) -> Comparison:
    house = House(directory / "house", _files(count, size))
    room = house.open()
    opened: Judge = runner.run(room.__aenter__())
    number = iter(range(1_000))

    def gate() -> float:
        candidate = runner.run(opened.candidate({"change.txt": f"{next(number)}\n"}))
        started = time.perf_counter()
        verdict = runner.run(opened.pipeline.judge(candidate))
        assert verdict.outcome is Outcome.PASSED, verdict.reasons
        return time.perf_counter() - started

    try:
        gate()
        beside = _worktree(house.work, directory / "worktree")
        return compare(
            f"a gate of nothing on {count} files", ("gate", gate), ("git worktree add, remove", beside),
            bar=BAR, rounds=5, warm=1,
        )  # fmt: skip
    finally:
        runner.run(room.__aexit__(None, None, None))


def main() -> int:
    found = []
    with asyncio.Runner() as runner:
        for count, size in SIZES:
            with tempfile.TemporaryDirectory(prefix="bench-checkout-") as directory:
                found.append(_measured(Path(directory), count, size, runner))
    return report(found)


if __name__ == "__main__":
    sys.exit(main())
