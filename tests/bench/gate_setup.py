"""What a kept environment adds to a gate run: a gate with a setup of 5,000 files, beside the same gate without.

The promise is under 100 ms: the base is read for its inputs, the environment is looked up and mounted. A command of
half a second stands for the shortest real gate.
"""

from __future__ import annotations

import sys

from tests.bench.judging import Files, compare_gates
from tests.scenarios.gate_house import airboss_toml

SETUP = """\
[setup.many]
run = ["/bin/sh", "-c", "mkdir made; i=0; while [ $i -lt 5000 ]; do echo $i > made/$i; i=$((i + 1)); done"]
inputs = ["list.txt"]
provides = ["made"]
"""


def _files(setup: str) -> Files:
    return {"airboss.toml": setup + airboss_toml("sleep", "0.5"), "list.txt": ""}


def main() -> int:
    return compare_gates(
        "a gate of 0.5 s, its environment kept",
        ("with a setup", _files(SETUP)),
        ("without", _files("")),
        lambda number: {"change.txt": f"{number}\n"},
        bar=1.2,
        rounds=9,
    )


if __name__ == "__main__":
    sys.exit(main())
