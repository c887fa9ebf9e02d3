"""Named places where a test can kill the controller with SIGKILL, or freeze it: nothing is lost there.

``AIRBOSS_FAILPOINT=name`` kills at the first visit of ``name``, ``name:3`` at the third; ``name:3:freeze`` stops it
there with SIGSTOP. ``@PATH``: what that file says by then, so that a controller can be told while it runs. When
unset, a visit costs one dictionary look-up.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_visits: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Kills this process if the environment asks for it."""
    wanted = os.environ.get("AIRBOSS_FAILPOINT")
    if not wanted:
        return
    if wanted.startswith("@"):
        wanted = _told(Path(wanted[1:]))
    wanted_name, count, how = (*wanted.split(":"), "", "")[:3]
    if name != wanted_name:
        return
    _visits[name] = _visits.get(name, 0) + 1
    if _visits[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGSTOP if how == "freeze" else signal.SIGKILL)


def _told(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return ""
