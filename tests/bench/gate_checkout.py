"""A gate on a tree of 5,000 files, beside ``git worktree add`` and ``remove`` of the same tree.

The command does nothing, so what is measured is the checkout, its hash, and its removal. The files come from the
controller each time, so that nothing which ran before can have changed them: that is what the ratio pays for.
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
from tests.bench.harness import Trial, compare, report, timed
from tests.scenarios.gate_house import Files, House, Judge, airboss_toml

FILES, BYTES = 5_000, 2_000
BAR = 4.0


def _files() -> Files:
    dice = random.Random(1)
    many: Files = {
        f"d{number % 50}/s{number % 7}/f{number}.py": f"# {dice.getrandbits(8 * BYTES // 2):x}\n"[:BYTES]
        for number in range(FILES)
    }
    return {**many, "airboss.toml": airboss_toml("true", more="layers = []")}


def _worktree(work: Path, to: Path) -> Trial:
    def both() -> None:
        for words in (("add", "--quiet", "--detach", str(to), "HEAD"), ("remove", "--force", str(to))):
            subprocess.run(["git", "-C", str(work), "worktree", *words], check=True, capture_output=True)

    return timed(both)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-checkout-") as directory, asyncio.Runner() as runner:
        house = House(Path(directory) / "house", _files())
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
            beside = _worktree(house.work, Path(directory) / "worktree")
            found = compare(
                f"a gate of nothing on {FILES} files", ("gate", gate), ("git worktree add, remove", beside),
                bar=BAR, rounds=5, warm=1,
            )  # fmt: skip
        finally:
            runner.run(room.__aexit__(None, None, None))
    return report([found])


if __name__ == "__main__":
    sys.exit(main())
