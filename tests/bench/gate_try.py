"""`airboss gate try` on a change of two files, beside the gate's command alone: at most 0.4 s longer.

One change has words that may be secrets, as nearly every change has: a program that takes a third of a second
of CPU searches it. The other has none. The processor time of all processes of a try is printed, with no bar.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.bench.harness import Comparison, command, compare, report
from tests.bench.serving import AIRBOSS
from tests.far_end.repositories import commit, make_work

SECONDS: Final = 0.1
BAR: Final = 1 + 0.4 / SECONDS
ROUNDS: Final = 9
GATES: Final = f'[gates.check]\nrun = ["sleep", "{SECONDS}"]\ntimeout = "60s"\n'
CHANGES: Final = {
    "searched for secrets": (
        "def the_sum_of_all_items(items):\n    return sum(items)\n",
        "assert the_sum_of_all_items([1, 2]) == 3\n",
    ),
    "of few words": ("a = 1\n", "b = 2\n"),
}


def processor_seconds(argv: list[str]) -> float:
    """What a program and all that it waited for took."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    return usage.ru_utime + usage.ru_stime


def tried(directory: Path, name: str, change: tuple[str, str]) -> Comparison:
    """A try of one change."""
    work = make_work(directory, {"airboss.toml": GATES, "code.py": "", "check.py": ""})
    commit(work, {"code.py": change[0], "check.py": change[1]})
    argv = [AIRBOSS, "gate", "try", "--repo", str(work), "--base", "HEAD~1", "--head", "HEAD"]
    ours, base = ("airboss gate try", command(argv)), (f"sleep {SECONDS}", command(["sleep", str(SECONDS)]))
    found = compare(f"a change {name}", ours, base, bar=BAR, rounds=ROUNDS)
    print(f"{name}: {min(processor_seconds(argv) for _ in range(ROUNDS)):.2f} s of CPU")
    return found


def main() -> int:
    """Prints the ratios; exits 1 when one is above what is promised."""
    with tempfile.TemporaryDirectory(prefix="airboss-bench-") as name:
        return report([tried(Path(name) / str(number), *each) for number, each in enumerate(CHANGES.items())])


if __name__ == "__main__":
    sys.exit(main())
