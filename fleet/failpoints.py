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

#: All failpoints, in the order in which a task reaches them; the crash scenario visits each.
NAMES = (
    "slot-reserved",
    "session-placed",
    "workspace-prepared",
    "pipe-committed",
    "pipe-started",
    "input-sent",
    "output-read",
    "output-committed",
    "turn-closed",
    "snapshot-made",
    "gate-opened",
    "gate-started",
    "gate-closed",
    "verdict-taken",
    "landing-intended",
    "landing-swapped",
    "landing-done",
    "receipt-written",
    "task-landed",
)

#: Those that each message of a chat and each card meet.
OF_CHATS = ("update-committed", "update-handled", "card-claimed", "card-sent", "card-settled")

#: Those that only a schedule's run meets.
OF_SCHEDULES = ("slot-due", "slot-taken")

#: Those that only work meets that did not land.
OF_TREES = ("tree-decided", "tree-removed", "tree-restored")

#: Those that only a change meets whose base moved.
OF_MERGES = ("merge-recorded", "worktree-moved", "merge-settled")

#: Those that only a change meets that waits to land behind others.
OF_LANDINGS = ("landing-joined", "landing-merged", "landing-foreseen")

#: Those that only a turn meets that may not go on.
OF_HALTS = ("turn-halted",)

#: Those that only a slot of a pool meets, in the order in which one reaches them.
OF_POOLS = (
    "pool-slot-asked",
    "pool-slot-acquired",
    "pool-slot-up",
    "pool-slot-releasing",
    "pool-slot-released",
    "pool-slot-lost",
)

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
