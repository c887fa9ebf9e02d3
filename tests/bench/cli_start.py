"""How long the command line takes to answer, against the shortest program Python can run."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bench.harness import command, compare, report
from tests.bench.serving import AIRBOSS, FLEET, serving

BAR = 6.0


def main() -> int:
    """Prints the two figures; 1 when one of them misses its bar."""
    with tempfile.TemporaryDirectory(prefix="airboss-bench-") as name:
        directory = Path(name)
        fleet = FLEET.format(machine=directory / "machine", url=directory / "empty.git")
        python = ("python3 -c pass", command([sys.executable, "-c", "pass"]))
        with serving(directory, fleet) as served:
            helped = ("airboss --help", command([AIRBOSS, "--help"]))
            asked = ("airboss chat --say /status", command([AIRBOSS, "chat", "--say", "/status"], env=served.env))
            return report(
                [
                    compare("the help", helped, python, bar=BAR),
                    compare("a question to a running serve", asked, python, bar=BAR),
                ]
            )


if __name__ == "__main__":
    sys.exit(main())
