"""Events about the work of a task that did not land: what was decided about it, and what was removed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from fleet.events.envelope import Event


class TreeDecision(StrEnum):
    """What becomes of such work."""

    KEEP = "keep"  # it is saved as a snapshot, and never reclaimed before that
    RECLAIM = "reclaim"  # its worktree is removed; the snapshot stays
    DELETE = "delete"  # the worktree and the snapshot's ref are removed


@dataclass(frozen=True, slots=True)
class TreeDecided(Event):
    """A ``TreeDecision``, committed before anything is removed. ``commit`` and ``tree`` are the newest snapshot's,
    empty without one."""

    KIND: ClassVar[str] = "tree.decided"
    decision: str
    commit: str
    tree: str


@dataclass(frozen=True, slots=True)
class TreeRemoved(Event):
    """What was decided (a ``TreeDecision``) is done."""

    KIND: ClassVar[str] = "tree.removed"
    decision: str
