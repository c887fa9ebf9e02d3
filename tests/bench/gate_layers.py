"""What the layers add to a pytest gate whose base is known: the gate with all of them, beside it with none.

The suite takes two seconds and the change adds no tests. The promise is that all layers take no longer than the
command itself does: twice its time in all.
"""

from __future__ import annotations

import sys

from tests.bench.judging import Files, compare_gates
from tests.tampering.corpus import BASE, FIXED

SLOW = "import time\n\n\ndef test_slow():\n    time.sleep(2)\n"


def _files(more: str) -> Files:
    return {**BASE, "airboss.toml": f"{BASE['airboss.toml']!s}{more}", "tests/test_slow.py": SLOW}


def main() -> int:
    return compare_gates(
        "a pytest gate of 2 s, its base known",
        ("all layers", _files("")),
        ("none", _files("layers = []\n")),
        lambda number: {"shop/cart.py": f"{FIXED}\n# {number}\n"},
        bar=2.0,
        rounds=7,
    )


if __name__ == "__main__":
    sys.exit(main())
