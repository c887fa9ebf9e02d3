"""Entry point: ``serve ROOT``, ``forks``; ``begin`` and ``clear`` as a run's own login."""

from __future__ import annotations

import os
import sys


def main(image: bytes) -> None:
    """Runs what the command line names; ``forks`` does not return. ``image``: the compiled runner."""
    os.umask(0o077)
    if sys.argv[1:2] == ["serve"] and len(sys.argv) == 3:
        from .serve import serve

        serve(sys.argv[2], image)
    elif sys.argv[1:] == ["forks"]:
        from .forks import fork_supervisors

        fork_supervisors(image)
    elif sys.argv[1:] == ["begin"]:
        from .begin import begin

        begin()
    elif sys.argv[1:] == ["clear"]:
        from .begin import clear_here

        clear_here()
    else:
        sys.exit("usage: runner serve ROOT | forks | begin | clear")
