"""What two resources have in common, and quick ways to find that among many locks.

Everything that a pattern names lies in one directory, its head. Two patterns can only meet when one's head is the
other's or lies below it, so that of thousands of locks a few are compared.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from functools import lru_cache

from fleet.globs import Glob, normal
from fleet.locks import Lock, LockMode, Resource, Want

Head = tuple[str, ...]


@lru_cache(maxsize=16_384)
def glob(pattern: str) -> Glob:
    """A path's pattern. Case makes no difference: one of the fleet's machines may be a Mac."""
    return Glob.parse(pattern, fold=True)


def head_of(resource: Resource) -> Head:
    """The directory that everything is in that a resource names; empty for named things."""
    return glob(resource.name).head if resource.repo else ()


def shared_path(mine: Resource, other: Resource) -> str | None:
    """What two resources have in common, ``None`` where nothing: a path, or the name of the thing."""
    if mine.scope != other.scope:
        return None
    if not mine.repo:
        return mine.name
    path = glob(mine.name).common(glob(other.name))
    spelled = (_spelled(resource.name) for resource in (mine, other))
    return next((name for name in spelled if path is not None and normal(name, fold=True) == path), path)


@lru_cache(maxsize=16_384)
def _spelled(pattern: str) -> str:
    """The path that a pattern names, in its own upper and lower case; empty when it names several."""
    return Glob.parse(pattern).literal or ""


def conflict(want: Want, lock: Lock | Want) -> str | None:
    """What both name, if they cannot be held beside each other."""
    if want.mode is LockMode.SHARED and lock.mode is LockMode.SHARED:
        return None
    return shared_path(want.resource, lock.resource)


class Nearby:
    """Locks by their heads."""

    def __init__(self, locks: Iterable[Lock]) -> None:
        self._by_head: dict[tuple[str, Head], list[Lock]] = {}
        for lock in locks:
            self._by_head.setdefault((lock.resource.scope, head_of(lock.resource)), []).append(lock)
        self._heads = sorted(self._by_head)

    def of(self, resource: Resource) -> Iterator[Lock]:
        """Those that may have something in common with a resource."""
        scope, head = resource.scope, head_of(resource)
        for size in range(len(head)):
            yield from self._by_head.get((scope, head[:size]), ())
        for at in range(bisect.bisect_left(self._heads, (scope, head)), len(self._heads)):
            below = self._heads[at]
            if below[0] != scope or below[1][: len(head)] != head:
                return
            yield from self._by_head[below]


class Cover:
    """What is held already: finds a lock that is at least what is wanted."""

    def __init__(self, held: Iterable[Lock]) -> None:
        self._same: dict[Resource, list[Lock]] = {}
        self._under: dict[tuple[str, Head], list[Lock]] = {}
        self._patterns: list[Lock] = []
        for lock in held:
            self.add(lock)

    def add(self, lock: Lock) -> None:
        """From now on this is held too."""
        self._same.setdefault(lock.resource, []).append(lock)
        if not lock.resource.repo:
            return
        pattern = glob(lock.resource.name)
        if pattern.literal is None:
            self._patterns.append(lock)
        else:
            self._under.setdefault((lock.resource.scope, pattern.head), []).append(lock)

    def find(self, want: Want) -> Lock | None:
        """The lock that covers a want: of the same resource, or of a pattern that names the wanted path."""
        return next((lock for lock in self._candidates(want.resource) if _strong(lock, want)), None)

    def _candidates(self, wanted: Resource) -> Iterator[Lock]:
        yield from self._same.get(wanted, ())
        path = glob(wanted.name) if wanted.repo else None
        if path is None or path.literal is None:
            return
        for size in range(len(path.head), 0, -1):
            yield from self._under.get((wanted.scope, path.head[:size]), ())
        for lock in self._patterns:
            if lock.resource.scope == wanted.scope and glob(lock.resource.name).covers(path.literal):
                yield lock


def _strong(lock: Lock, want: Want) -> bool:
    return lock.mode is LockMode.EXCLUSIVE or want.mode is LockMode.SHARED
