"""Where tests kill a controller: the names that ``fleet/failpoints.py`` is asked for."""

from __future__ import annotations

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
