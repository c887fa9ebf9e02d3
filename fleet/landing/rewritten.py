"""A base branch that was rewritten while a task ran: a leaked key was purged, a bad merge was taken back.

Nothing of the removed history lands again. The change alone is carried onto the new branch and judged there, and a
person releases it, once, knowing what was rewritten.
"""

from __future__ import annotations

from dataclasses import replace

from fleet.git import merging
from fleet.git.repository import Repository
from fleet.landing import messages
from fleet.model import Session
from fleet.store import recent
from fleet.store.core import Store
from fleet.verdict import Outcome, Verdict


async def is_rewritten(repository: Repository, base: str, current: str) -> bool:
    """Whether the branch is at a commit that does not descend from the recorded base."""
    return not await repository.is_ancestor(base, current)


async def hold(store: Store, repository: Repository, session: Session, current: str, verdict: Verdict) -> Verdict:
    """The verdict on a carried change: one that may land is held for a person, unless one released it before."""
    if not verdict.outcome.opens and verdict.outcome is not Outcome.HELD:
        return verdict
    released = await store.read(lambda tx: recent.released_commits(tx, session.task))
    if verdict.outcome.opens and await _asked(repository, session.base, current, released):
        return verdict
    reason = await _reason(repository, session.base, current)
    others = verdict.reasons if verdict.outcome is Outcome.HELD else ()
    return replace(verdict, outcome=Outcome.HELD, reasons=(reason, *others))


async def _asked(repository: Repository, base: str, current: str, released: frozenset[str]) -> bool:
    """Whether a person released this change on the rewritten branch, or on a commit that it still has."""
    for commit in released:
        on = await merging.parent(repository, commit)
        if on and await is_rewritten(repository, base, on) and await repository.is_ancestor(on, current):
            return True
    return False


async def conflict(repository: Repository, base: str, current: str, paths: tuple[str, ...]) -> str:
    """Why a change cannot be carried onto the rewritten branch. Its worktree has the history that was removed."""
    return (
        f"{await _rewritten(repository, base, current)}, and this task's change conflicts with it in "
        f"{messages.listed(paths)}. The work is kept (/unlanded). "
        f"/retry starts again from the new {repository.base}"
    )


async def _reason(repository: Repository, base: str, current: str) -> str:
    carried = "Only this task's own change was carried onto it"
    return f"{await _rewritten(repository, base, current)}. {carried}"


async def _rewritten(repository: Repository, base: str, current: str) -> str:
    gone = await merging.gone(repository, base, current)
    named = ", ".join(gone.newest) + (" and more" if gone.count > len(gone.newest) else "")
    commits = "1 commit is" if gone.count == 1 else f"{gone.count} commits are"
    return f"{repository.base} was rewritten while this task ran: {commits} no longer in it ({named})"
