"""The book of locks in memory: every hold that nobody ended, and what it has.

It is used and changed inside write transactions, of which one runs at a time. Each change gives it a new random
stamp, which the same transaction writes into the store. Where a transaction was rolled back, or another process
changed something, the two stamps differ, and the book is read anew: what it says is always what the store says.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fleet.locks import Hold, Lock
from fleet.store import locks
from fleet.store.boot import Moment
from fleet.store.core import Tx
from fleet.store.leases import Term
from gates.locks.overlap import Cover, Nearby

_MOST_TOKENS = 100_000
_UNKNOWN = -1


@dataclass(slots=True)
class OpenHold:
    """A hold that nobody ended, its lease's term, and its locks by scope and token."""

    hold: Hold
    term: Term
    locks: dict[tuple[str, int], Lock] = field(default_factory=dict)
    _cover: Cover | None = None

    @property
    def cover(self) -> Cover:
        """What it holds, to be asked. Made when it is asked for: most holds are never asked."""
        if self._cover is None:
            self._cover = Cover(self.locks.values())
        return self._cover

    def add(self, lock: Lock) -> None:
        """A further lock."""
        self.locks[lock.resource.scope, lock.token] = lock
        if self._cover is not None:
            self._cover.add(lock)

    def remove(self, lock: Lock) -> None:
        """A lock of it is over."""
        self.locks.pop((lock.resource.scope, lock.token), None)
        self._cover = None

    def held(self, now: Moment) -> bool:
        """Whether its time is not over."""
        return self.term.lasts(now)


class Memory:
    """One for a store and a process: ``store.kept(Memory)``."""

    def __init__(self) -> None:
        self.stamp = _UNKNOWN
        self.holds: dict[str, OpenHold] = {}
        self.near: Nearby[Lock] = Nearby()
        self.tokens: dict[str, int] = {}
        self._of_task: dict[str, str] = {}

    def read(self, tx: Tx) -> list[OpenHold]:
        """Makes it what the store says. Returns every hold where the store had to be read for that."""
        stamp = locks.stamp(tx)
        if stamp == self.stamp:
            if len(self.tokens) > _MOST_TOKENS:
                self.tokens.clear()
            return []
        self.forget()
        found, had = locks.everything(tx)
        for hold, term in found:
            self.begin(hold, term)
        self.add(lock for lock in had if lock.hold in self.holds)
        self.stamp = stamp
        return list(self.holds.values())

    def forget(self) -> None:
        """The next use reads the store."""
        self.stamp = _UNKNOWN
        self.holds.clear()
        self.tokens.clear()
        self._of_task.clear()
        self.near = Nearby()

    def restamp(self) -> tuple[int, bool]:
        """A new stamp for a change, and whether there was none before."""
        first, self.stamp = self.stamp == 0, secrets.randbits(62) | 1
        return self.stamp, first

    def of_task(self, task: str) -> OpenHold | None:
        """What a task holds."""
        return self.holds.get(self._of_task.get(task, ""))

    def begin(self, hold: Hold, term: Term) -> OpenHold:
        """A new hold."""
        kept = self.holds[hold.id] = OpenHold(hold, term)
        if hold.task:
            self._of_task[hold.task] = hold.id
        return kept

    def add(self, added: Iterable[Lock]) -> None:
        """New locks of holds that are open."""
        for lock in added:
            self.holds[lock.hold].add(lock)
            self.near.add(lock.resource, lock.token, lock)

    def renew(self, kept: OpenHold, expires_us: int, term: Term) -> None:
        """Another term for a hold."""
        kept.hold, kept.term = replace(kept.hold, expires_us=expires_us), term

    def end(self, kept: OpenHold) -> None:
        """A hold is over, with all that it has."""
        del self.holds[kept.hold.id]
        if self._of_task.get(kept.hold.task) == kept.hold.id:
            del self._of_task[kept.hold.task]
        for lock in kept.locks.values():
            self.near.remove(lock.resource, lock.token)

    def end_locks(self, kept: OpenHold, over: Iterable[Lock]) -> None:
        """Single locks of a hold are over."""
        for lock in over:
            kept.remove(lock)
            self.near.remove(lock.resource, lock.token)

    def next_token(self, tx: Tx, scope: str) -> tuple[int, bool]:
        """The next fencing token of a scope, and whether it is the first."""
        last = self.tokens.get(scope)
        if last is None:
            last = locks.last_token(tx, scope)
        self.tokens[scope] = last + 1
        return last + 1, last == 0
