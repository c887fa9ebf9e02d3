"""What tasks hold, in memory: the question before an edit of what its task holds costs no statement.

It is never ahead of the store. It keeps what a finished read or a commit said, and the commit that ends a lock
empties it before anybody hears of that end. A read that such an end overtook is not kept. It may lack a lock; then
the store is asked. Where another controller ends a lock, this one hears of it after the commit: an edit in between
is allowed, and the snapshot and the landing, which ask the store, refuse it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleet.events import LocksReleased, Recorded
from fleet.locks import Granted, Hold, Lock, Want
from fleet.store import boot
from fleet.store.core import Store, Tx
from gates.locks.overlap import Cover


@dataclass(slots=True)
class _Kept:
    """One task's hold. ``until_us``: the end of its lease, by the clock that nobody can set."""

    hold: str
    until_us: int
    cover: Cover


class Remembered:
    """One for a controller. Used on its event loop."""

    def __init__(self, store: Store) -> None:
        self._kept: dict[str, _Kept] = {}
        self._ends = 0
        store.observe(self._observe)
        store.hear(self._heard)
        store.when_unsure(self._forget)

    @property
    def ends(self) -> int:
        """How many ends of locks were seen: take it before a read, and give it to :meth:`keep`."""
        return self._ends

    def knows(self, task: str) -> bool:
        """Whether everything that the task holds is here."""
        kept = self._kept.get(task)
        return kept is not None and kept.until_us > boot.now().us

    def covers(self, task: str, wants: Iterable[Want]) -> bool:
        """Whether the task surely holds all of these now."""
        return self.knows(task) and all(self._kept[task].cover.find(want) is not None for want in wants)

    def keep(self, hold: Hold, held: Iterable[Lock], *, until_us: int, ends: int) -> None:
        """All that a task holds, as a read said that started when ``ends`` was taken."""
        if ends == self._ends:
            self._kept[hold.task] = _Kept(hold.id, until_us, Cover(held))

    def granted(self, granted: Granted) -> None:
        """Locks that were just committed."""
        kept = self._kept.get(granted.hold.task)
        if kept is not None and kept.hold == granted.hold.id:
            for lock in granted.locks:
                if kept.cover.find(Want(lock.resource, lock.mode)) is None:
                    kept.cover.add(lock)

    def renewed(self, tx: Tx, hold: Hold, ttl_us: int) -> None:
        """A hold lasts for ``ttl_us`` from now, once this transaction is committed."""
        until_us = boot.now().us + ttl_us

        def known() -> None:
            kept = self._kept.get(hold.task)
            if kept is not None and kept.hold == hold.id:
                kept.until_us = until_us

        tx.after_commit(known)

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        if isinstance(recorded.event, LocksReleased) and recorded.refs.task:
            tx.after_commit(lambda: self._ended(recorded.refs.task))

    def _heard(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, LocksReleased) and recorded.refs.task:
            self._ended(recorded.refs.task)

    def _forget(self) -> None:
        """A lock may have ended that nobody spoke of."""
        self._ends += 1
        self._kept.clear()

    def _ended(self, task: str) -> None:
        self._ends += 1
        self._kept.pop(task, None)
