"""Somebody else moved a base branch: noticed where a landing looks, told once, and by choice nothing lands then."""

from __future__ import annotations

from fleet.events import BaseMoved
from fleet.git import merging
from fleet.landing.outcome import LandingContext
from fleet.model import ForeignPush
from fleet.store import base_tips
from fleet.store.base_tips import BaseTip


class LandingsStopped(Exception):
    """Nothing lands in a repository before a person says so. ``why``: in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


async def look(context: LandingContext, repo: str, current: str) -> None:
    """Compares where the branch is with where it was last seen. Raises ``LandingsStopped``."""
    store, repository = context.store, context.repository
    known = await store.read(lambda tx: base_tips.of_repo(tx, repo))
    if known is None or (known.ref, known.commit) != (repository.ref, current):
        if known is None or known.ref != repository.ref:
            await store.write(lambda tx: base_tips.seen(tx, BaseTip(repo, repository.ref, current)))
        else:
            await _note(context, known, current)
        known = await store.read(lambda tx: base_tips.of_repo(tx, repo))
    if known is not None and known.stopped:
        raise LandingsStopped(known.stopped)


async def _note(context: LandingContext, known: BaseTip, current: str) -> None:
    store, repository = context.store, context.repository
    if await store.read(lambda tx: base_tips.is_ours(tx, known.repo, current)):
        await store.write(lambda tx: base_tips.seen(tx, BaseTip(known.repo, known.ref, current)))
        return
    there = await repository.has(known.commit)
    rewritten = not (there and await repository.is_ancestor(known.commit, current))
    commits = (await merging.gone(repository, current, known.commit)).count if there else 0
    stops = context.foreign_push is ForeignPush.STOP
    event = BaseMoved(known.repo, known.ref, known.commit, current, commits, rewritten, stops)
    how = "was rewritten by somebody else" if rewritten else "was moved by somebody else"
    why = f"{repository.base} {how}, from {known.commit[:10]} to {current[:10]}" if stops else ""
    await store.write(lambda tx: base_tips.moved(tx, known, event, why))
