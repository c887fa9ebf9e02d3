"""Entry point: ``serve ROOT`` or ``supervise ID``; each imports only what it needs."""

from __future__ import annotations

import os
import sys


def main(image: bytes) -> None:
    """Runs what the command line names; ``supervise`` does not return. ``image``: the compiled runner."""
    os.umask(0o077)
    if sys.argv[1:2] == ["serve"] and len(sys.argv) == 3:
        from .serve import serve

        serve(sys.argv[2], image)
    elif sys.argv[1:2] == ["supervise"] and len(sys.argv) == 3:
        from .supervise import supervise

        supervise(sys.argv[2])
    else:
        sys.exit("usage: runner serve ROOT | supervise ID")
