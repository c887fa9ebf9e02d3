"""What a change lands as, on a given base: the snapshot itself, a merge, or its difference alone."""

from __future__ import annotations

from fleet.git import merging
from fleet.git.merging import MergeResult
from fleet.landing import messages
from fleet.landing.outcome import ChangeToLand, LandingContext
from fleet.ports import Candidate
from fleet.store import gates
from fleet.store.core import Store


class Merges:
    """The candidates that one change makes. The same base gives the same commit, whenever it is asked for."""

    def __init__(self, context: LandingContext, change: ChangeToLand) -> None:
        self._store: Store = context.store
        self._repository, self._change = context.repository, change
        self._made: dict[tuple[str, bool], tuple[str, str]] = {}

    async def on(self, base: str, *, carried: bool = False) -> Candidate | MergeResult:
        """The change on ``base``, or what it conflicts in. ``carried``: with nothing of its own base's history."""
        made = self._made.get((base, carried))
        if made is None:
            merged = await (self._carried(base) if carried else self._merged(base))
            if isinstance(merged, MergeResult):
                return merged
            self._made[base, carried] = made = merged
        commit, tree = made
        change = self._change
        round_ = 1
        if commit != change.turn.snapshot:
            round_ = await self._store.read(lambda tx: gates.landing_round(tx, change.task.id, commit))
        return Candidate(change.task, change.session, change.turn, commit, tree, base, round_)

    async def _merged(self, base: str) -> tuple[str, str] | MergeResult:
        change, repository = self._change, self._repository
        snapshot = change.turn.snapshot
        if base == change.session.base:
            return snapshot, change.turn.tree
        merged = await merging.merge(repository, base, snapshot)
        if merged.conflicts:
            return merged
        message = messages.merge_message(change.task, repository.base, snapshot)
        when = change.turn.ended_us // 1_000_000
        return await merging.merge_commit(repository, merged.tree, base, snapshot, message, when), merged.tree

    async def _carried(self, base: str) -> tuple[str, str] | MergeResult:
        snapshot, repository = self._change.turn.snapshot, self._repository
        merged = await merging.carry(repository, self._change.session.base, base, snapshot)
        if merged.conflicts:
            return merged
        message = await merging.message_of(repository, snapshot)
        when = self._change.turn.ended_us // 1_000_000
        return await repository.commit_tree(merged.tree, (base,), message, when), merged.tree
