"""Where the ``airboss`` command begins. Nothing of ours is imported before the path is right.

A folder called ``bot``, ``fleet`` or ``gates`` in a directory of ``PYTHONPATH`` would hide ours.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Runs the command. What ``PYTHONPATH`` names is looked at last, here and in no program that we start.

    A standard stream that is closed is /dev/null: otherwise the next file that is opened would be in its place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - until the end
    absolute = os.path.abspath
    named = {absolute(place) for place in os.environ.pop("PYTHONPATH", "").split(os.pathsep) if place}
    sys.path.sort(key=lambda place: absolute(place) in named)
    try:
        from bot.cli import main as run

        return run()
    except KeyboardInterrupt:  # while it loads
        return 130


if __name__ == "__main__":
    sys.exit(main())
