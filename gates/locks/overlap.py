"""What two resources have in common, and quick ways to find that among many locks.

Everything that a pattern names lies in one directory, its head. Two patterns can only meet when one's head is the
other's or lies below it, so that of thousands of locks a few are compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache
from typing import Generic, TypeVar

from fleet.globs import Glob, normal
from fleet.locks import Lock, LockMode, Resource, Want

Head = tuple[str, ...]
T = TypeVar("T")


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
    return _common(mine.name, other.name)


@lru_cache(maxsize=65_536)
def _common(mine: str, other: str) -> str | None:
    path = glob(mine).common(glob(other))
    spelled = (_spelled(pattern) for pattern in (mine, other))
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


class Nearby(Generic[T]):
    """Anything that is about a resource, by the resource's head. A key is unique among those of one scope."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, Head], dict[Hashable, T]] = {}
        self._below: dict[tuple[str, Head], dict[Head, None]] = {}

    @classmethod
    def of_locks(cls, locks: Iterable[Lock]) -> Nearby[Lock]:
        """These locks."""
        made = Nearby[Lock]()
        for lock in locks:
            made.add(lock.resource, (lock.token, lock.hold), lock)
        return made

    def add(self, resource: Resource, key: Hashable, item: T) -> None:
        """Adds what is about a resource."""
        scope, head = resource.scope, head_of(resource)
        here = self._at.get((scope, head))
        if here is None:
            here = self._at[scope, head] = {}
            for size in range(len(head)):
                self._below.setdefault((scope, head[:size]), {})[head] = None
        here[key] = item

    def remove(self, resource: Resource, key: Hashable) -> None:
        """Takes away what was added under a key."""
        scope, head = resource.scope, head_of(resource)
        here = self._at.get((scope, head), {})
        here.pop(key, None)
        if here:
            return
        self._at.pop((scope, head), None)
        for size in range(len(head)):
            below = self._below.get((scope, head[:size]), {})
            below.pop(head, None)
            if not below:
                self._below.pop((scope, head[:size]), None)

    def at(self, resource: Resource) -> Iterable[T]:
        """What is about resources of the same head, this one among them."""
        return self._at.get((resource.scope, head_of(resource)), {}).values()

    def of(self, resource: Resource) -> Iterator[T]:
        """What may have something in common with a resource."""
        scope, head = resource.scope, head_of(resource)
        for size in range(len(head) + 1):
            yield from self._at.get((scope, head[:size]), {}).values()
        for below in self._below.get((scope, head), ()):
            yield from self._at[scope, below].values()


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
