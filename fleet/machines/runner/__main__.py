"""``serve ROOT`` or ``supervise ID``: each loads only what it needs."""

from __future__ import annotations

import os
import sys


def main(image: bytes) -> None:
    """Runs what the command line names; it does not return from ``supervise``. ``image``: all of this, compiled."""
    os.umask(0o077)
    if sys.argv[1:2] == ["serve"] and len(sys.argv) == 3:
        from .serve import serve

        serve(sys.argv[2], image)
    elif sys.argv[1:2] == ["supervise"] and len(sys.argv) == 3:
        from .supervise import supervise

        supervise(sys.argv[2])
    else:
        sys.exit("usage: runner serve ROOT | supervise ID")
