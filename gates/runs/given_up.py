"""What need not be judged any more: tasks that a person stopped, merges that will not land as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fleet.ports import Candidate

STOPPED: Final = "the task was stopped"
TASK_ENDED: Final = "the task has ended"
MERGED_ANEW: Final = "it is merged anew, as the changes before it are not the same any more"


@dataclass(frozen=True, slots=True)
class GivenUp:
    """In memory: a later controller judges again what it needs."""

    tasks: set[str] = field(default_factory=set)
    merges: set[tuple[str, str, int]] = field(default_factory=set)

    def withdraw(self, candidate: Candidate) -> None:
        """This judgement of this commit is of no use any more."""
        self.merges.add(_key(candidate))

    def why(self, candidate: Candidate) -> str:
        """Why a judgement does not count; empty while it does."""
        if candidate.task.id in self.tasks:
            return STOPPED
        return MERGED_ANEW if _key(candidate) in self.merges else ""

    def test(self, candidate: Candidate) -> bool:
        """Whether a judgement does not count."""
        return bool(self.why(candidate))


def _key(candidate: Candidate) -> tuple[str, str, int]:
    return candidate.task.id, candidate.commit, candidate.round
