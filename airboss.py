"""Where the ``airboss`` command begins. Standard library only: nothing of ours is imported before the path is right.

A folder called ``bot``, ``fleet`` or ``gates`` in a directory of ``PYTHONPATH`` would hide our package of that name.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Runs the command. What ``PYTHONPATH`` names is looked at last, here and in no program that we start."""
    named = {os.path.abspath(place) for place in os.environ.pop("PYTHONPATH", "").split(os.pathsep) if place}  # noqa: PTH100
    sys.path.sort(key=lambda place: os.path.abspath(place) in named)  # noqa: PTH100 - pathlib costs its import
    from bot.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
