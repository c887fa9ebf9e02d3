"""What can be locked, and how: resources, modes, and the records of who holds what. ``gates`` decides on overlap.

A **hold** is one lease with a holder and a secret; it has any number of **locks**, one a resource, each with a
fencing token of its resource. Releasing, renewing and expiry act on the hold as a whole.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fleet.errors import Misused
from fleet.globs import unmeant


class LockMode(StrEnum):
    """``SHARED`` locks on one resource stand beside each other; an ``EXCLUSIVE`` one stands alone."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"


class LockCause(StrEnum):
    """How a lock came to be wanted."""

    DECLARED = "declared"  # a person named it with the task
    TOUCHED = "touched"  # the agent asked to edit it
    CHANGED = "changed"  # the snapshot, or what is to land, changes it
    COMMAND = "command"  # ``airboss lock acquire``


class HoldEnd(StrEnum):
    """Why a hold is over."""

    NONE = ""
    RELEASED = "released"
    EXPIRED = "expired"
    BROKEN = "broken"  # a person took it away
    WAITED = "waited"  # its task waits for longer than it may keep locks
    DONE = "done"  # its task ended


PATHS: Final = "path:"
"""How the text of a path's resource begins: ``path:REPO:PATTERN``."""

LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Resource:
    """A path pattern in a repository, or a named thing such as ``simulator:iPhone-17`` or ``deploy``.

    ``repo`` is empty for a named thing, whose ``name`` is all there is to it.
    """

    name: str
    repo: str = ""

    @classmethod
    def parse(cls, text: str, repo: str = "") -> Resource:
        """A resource as people write it. Raises ``Misused`` when it is empty, too long, or names no repository.

        ``path:REPO:PATTERN`` is always a path. Other words are a path of ``repo`` when they have a ``/``, a
        wildcard or a dot in them and no ``:`` before these; everything else is a named thing.
        """
        word = unicodedata.normalize("NFC", text.strip())
        if word.startswith(PATHS):
            named, _, pattern = word.removeprefix(PATHS).partition(":")
            if not named or not pattern:
                raise _misused(text, "a path is written path:REPO:PATTERN")
            return cls(_from_root(pattern), named)
        if not word or len(word) > LONGEST_NAME or not word.isprintable():
            raise _misused(text, f"a name has 1 to {LONGEST_NAME} printable characters")
        if any(mark in word.partition(":")[0] for mark in "/*?[."):
            if not repo:
                hint = f"Write path:REPO:{word}"
                raise _misused(text, "it looks like a path, and no repository is named", hint)
            return cls(_from_root(word), repo)
        return cls(word)

    @classmethod
    def typed(cls, text: str, repo: str = "", repos: Collection[str] | None = None) -> Resource:
        """As :meth:`parse`, of somebody who wants a lock, which must not be one that protects nothing. ``repos``:
        all there are, where that is known."""
        found = cls.parse(text, repo)
        if repos is not None and found.repo and found.repo not in repos:
            known = ", ".join(sorted(repos)[:8]) or "none"
            raise _misused(text, f"fleet.toml has no repository called {found.repo!r}; there are: {known}")
        if not found.name.isprintable():
            raise _misused(text, "it has characters that cannot be printed")
        if why := unmeant(found.name):
            raise _misused(text, why)
        return found

    @property
    def scope(self) -> str:
        """What its fencing token counts in, and where others can overlap with it."""
        return f"{PATHS}{self.repo}" if self.repo else f"thing:{self.name}"

    def __str__(self) -> str:
        return f"{PATHS}{self.repo}:{self.name}" if self.repo else self.name


@dataclass(frozen=True, slots=True)
class Want:
    """One resource that somebody asks for."""

    resource: Resource
    mode: LockMode = LockMode.EXCLUSIVE

    @property
    def text(self) -> str:
        """For people, who know which repository is meant."""
        return self.resource.name + _marks(self.resource, self.mode)

    def __str__(self) -> str:
        return f"{self.mode} {self.resource}"


def dump_wants(wants: Iterable[Want]) -> str:
    """What somebody declared, as a row keeps it; empty for nothing."""
    rows = [[str(want.resource), str(want.mode)] for want in wants]
    return json.dumps(rows) if rows else ""


def load_wants(text: str) -> tuple[Want, ...]:
    """What :func:`dump_wants` wrote."""
    return tuple(Want(Resource.parse(name), LockMode(mode)) for name, mode in json.loads(text)) if text else ()


@dataclass(frozen=True, slots=True)
class Lock:
    """One resource that a hold has. ``token`` only grows within the resource's scope, also across releases."""

    hold: str
    resource: Resource
    mode: LockMode
    cause: LockCause
    token: int
    since_us: int

    @property
    def marks(self) -> str:
        """What a person must know besides its name."""
        return _marks(self.resource, self.mode)


@dataclass(frozen=True, slots=True)
class Hold:
    """A holder and its lease. ``expires_us`` is for people: epoch microseconds by the wall clock.

    ``task`` is empty for a hold that a command made. ``secret_sha256``: the digest of what releases and renews it.
    """

    id: str
    holder: str
    task: str
    secret_sha256: str
    since_us: int
    expires_us: int
    end: HoldEnd = HoldEnd.NONE

    @property
    def lease(self) -> str:
        """The name of its lease."""
        return lease_of(self.id)


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that is in the way, with its hold. ``path``: one that both name, for people."""

    lock: Lock
    hold: Hold
    path: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """Everything that was asked for. ``locks`` has one for each want, those held before included."""

    hold: Hold
    locks: tuple[Lock, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing was given. ``by``: who holds it; ``ahead``: who waited longer for it, where it is free; ``circle``:
    holders of whom each would wait for the next and the last for the first, if this one waited too."""

    by: tuple[Held, ...]
    ahead: str = ""
    circle: tuple[str, ...] = ()


LockAnswer = Granted | Blocked


@dataclass(frozen=True, slots=True)
class LockRefusal:
    """Why a snapshot may not count.

    ``over``: only changes of tasks that are over are in its way, so a newer base may have them. Never for a session
    whose own lock expired or was broken: it went on without it.
    """

    why: str
    over: bool = False


class LocksWanted(Exception):
    """A step cannot go on before somebody else releases a lock. ``why``: which, and who holds it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def lease_of(hold: str) -> str:
    """The name of a hold's lease."""
    return f"lock:{hold}"


def _from_root(pattern: str) -> str:
    while pattern.startswith("./"):
        pattern = pattern[2:]
    return pattern


def _marks(resource: Resource, mode: LockMode) -> str:
    """`` (shared, advisory)``; empty for what is neither."""
    known = (mode is LockMode.SHARED, "shared"), (not resource.repo, "advisory")
    said = ", ".join(mark for holds, mark in known if holds)
    return f" ({said})" if said else ""


def _misused(
    text: str, cause: str, hint: str = "For example: src/api/**, simulator:iPhone-17 or deploy"
) -> Misused:
    return Misused(attempted="read what to lock", on=repr(text[:LONGEST_NAME]), cause=cause, hint=hint)
