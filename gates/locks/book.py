"""The rules of locks inside one transaction: what conflicts, what is granted, what ends.

All or nothing: a request gets everything it wants in one transaction, or nothing. Two locks conflict when some path
is named by both (for named things: when they have one name), unless both are shared or both are of one hold. A hold
whose time is over is in nobody's way: whoever conflicts with it ends it, and its fence fails from then on.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from fleet.errors import Refused
from fleet.events import LocksGranted, LocksReleased, Refs, Source
from fleet.locks import (
    Blocked,
    Granted,
    Held,
    Hold,
    HoldEnd,
    Lock,
    LockAnswer,
    LockCause,
    Resource,
    Want,
)
from fleet.model import AIRBOSS
from fleet.store import leases, ledger, locks
from fleet.store.core import Tx
from gates.locks.memory import Memory, OpenHold
from gates.locks.overlap import Head, Nearby, conflict, head_of

_NAMED_IN_EVENT: Final = 50
"""Resources of one event that the ledger names; more are counted."""

_FEW: Final = 16
"""Up to so many wants ask the store one by one."""


Opened = tuple[Hold, list[Lock]]
"""A hold that a secret opens, with the locks of it that are meant."""


class NotHeld(Exception):
    """Nobody holds a resource that somebody wants to release or renew. ``on``: which."""

    def __init__(self, on: str) -> None:
        super().__init__(f"{on} is not held")
        self.on = on


class NotYours(Refused):
    """Another secret releases and renews a resource. ``held``: by whom."""

    def __init__(self, attempted: str, held: Held) -> None:
        super().__init__(
            attempted=attempted,
            on=str(held.lock.resource),
            cause=f"{held.hold.holder} holds it, and this is not its secret",
            hint="Only its secret releases it: give --holder as for acquire, or --secret-file FILE.",
        )
        self.held = held


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants what. ``task`` and its hold are one: a further request of a task adds to what it holds.

    ``hold``: the id of the new hold; asked again under the same id, a request finds what it was granted.
    ``secret_sha256``: the digest of the secret that will release and renew a new hold. ``had_since_us``: also
    locks of other tasks that ended after this moment are in the way.
    """

    holder: str
    wants: tuple[Want, ...]
    ttl_us: int
    cause: LockCause
    task: str = ""
    secret_sha256: str = ""
    had_since_us: int = 0
    hold: str = field(default_factory=locks.new_id)


def new_secret() -> str:
    """A secret for a hold: 128 random bits."""
    return secrets.token_urlsafe(16)


def digest(secret: str) -> str:
    """What the store keeps of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class OpenBook:
    """The book of locks inside one transaction: the rules, over what is in memory. Made by :func:`opened`, which
    writes in the end what was changed.

    ``freed``: the scopes in which locks ended; ``steps`` grows with each change.
    """

    def __init__(self, tx: Tx, memory: Memory) -> None:
        self._tx, self._memory = tx, memory
        self._now = leases.moment(tx)
        self._changes, self._events = locks.Changes(), list[ledger.Entry]()
        self.freed: set[str] = set()
        self.steps = 0

    def acquire(self, request: Request) -> LockAnswer:
        """Grants everything or nothing. What the same hold has already is not taken twice."""
        mine = self._mine(request)
        missing = _missing(request, mine)
        blocking = self._in_the_way(missing, mine, request)
        if blocking:
            return Blocked(tuple(blocking))
        if mine is None:
            mine = self._open(request)
        added = self._add(mine, missing, request.cause) if missing else ()
        if len(added) == len(request.wants):
            return Granted(mine.hold, tuple(added))
        found = (mine.cover.find(want) for want in request.wants)
        return Granted(mine.hold, tuple(lock for lock in found if lock is not None))

    def missing(self, request: Request) -> Sequence[Want]:
        """What is wanted, without what its own hold has already."""
        return _missing(request, self._mine(request))

    def in_the_way(self, request: Request) -> list[Held]:
        """What keeps a request from being granted."""
        return self._in_the_way(request.wants, self._mine(request), request)

    def renew(self, hold: Hold, ttl_us: int) -> Hold:
        """The hold for ``ttl_us`` from now. Raises ``LeaseLost`` when it is over."""
        kept = self._memory.holds.get(hold.id)
        if kept is None:
            raise leases.lost(leases.Fence(hold.lease, 1))
        self._renew(kept, ttl_us)
        return kept.hold

    def release(self, hold: Hold, why: HoldEnd, *, actor: str = AIRBOSS, reason: str = "") -> None:
        """Ends a hold with all that it has. One that is over already is left as it is."""
        kept = self._memory.holds.get(hold.id)
        if kept is not None:
            self.steps += 1
            had = _in_order(kept)
            self._memory.end(kept)
            self._changes.ended.append((kept.hold, why))
            self._over(kept.hold, had, why, actor=actor, reason=reason)

    def let_go(
        self, hold: Hold, some: Sequence[Lock], why: HoldEnd, *, actor: str = AIRBOSS, reason: str = ""
    ) -> None:
        """Ends some locks of a hold; with the last of them, the hold."""
        kept = self._memory.holds.get(hold.id)
        if kept is None:
            return
        meant = [lock for lock in some if (lock.resource.scope, lock.token) in kept.locks]
        if len(meant) == len(kept.locks):
            self.release(hold, why, actor=actor, reason=reason)
        elif meant:
            self.steps += 1
            self._memory.end_locks(kept, meant)
            self._over(kept.hold, meant, why, actor=actor, reason=reason)

    def by_secret(self, resources: Iterable[Resource], secret: str, attempted: str) -> list[Opened]:
        """The holds that a secret opens among those that have these resources, with the locks meant.

        Raises ``NotHeld`` when nobody holds a resource, ``NotYours`` when another secret opens it: a name alone
        does nothing.
        """
        sha256 = digest(secret)
        found: dict[str, tuple[Hold, list[Lock]]] = {}
        for resource in resources:
            mine: tuple[Hold, Lock] | None = None
            another: Held | None = None
            for lock in self._memory.near.at(resource):
                if lock.resource != resource:
                    continue
                kept = self._memory.holds[lock.hold]
                hold = kept.hold
                if hold.secret_sha256 and hmac.compare_digest(hold.secret_sha256, sha256):
                    mine = (hold, lock)
                if kept.held(self._now):
                    another = Held(lock, hold)
            if mine is not None:
                found.setdefault(mine[0].id, (mine[0], []))[1].append(mine[1])
            elif another is not None:
                raise NotYours(attempted, another)
            else:
                raise NotHeld(str(resource))
        return list(found.values())

    def end_late(self) -> int:
        """Ends the holds whose time is over; returns how many."""
        late = [kept for kept in self._memory.holds.values() if not kept.held(self._now)]
        for kept in late:
            self.release(kept.hold, HoldEnd.EXPIRED)
        return len(late)

    def start_again(self, kept: Iterable[OpenHold]) -> None:
        """Leases of another boot, seen for the first time, begin their full time here."""
        for each in kept:
            if not each.term.counted(self._now):
                self._renew(each, each.term.lasts_us)

    @property
    def changed(self) -> bool:
        """Whether something is to be written."""
        return bool(self._changes)

    def write(self) -> None:
        """Writes what was changed so far, with its events."""
        if not self._changes:
            return
        changes, events = self._changes, self._events
        self._changes, self._events = locks.Changes(), []
        stamp, first = self._memory.restamp()
        ledger.append_all(self._tx, events)  # first: it asks what nobody has changed yet
        locks.write(self._tx, changes, stamp, first=first)

    # --- parts ----------------------------------------------------------------------------------------

    def _mine(self, request: Request) -> OpenHold | None:
        """What the asker holds; nothing once its time is over."""
        memory = self._memory
        mine = memory.of_task(request.task) if request.task else memory.holds.get(request.hold)
        if mine is not None and not mine.held(self._now):
            self.release(mine.hold, HoldEnd.EXPIRED)
            return None
        return mine

    def _open(self, request: Request) -> OpenHold:
        self.steps += 1
        now_us = self._tx.now_us()
        hold = Hold(
            request.hold, request.holder, request.task, request.secret_sha256, now_us, now_us + request.ttl_us
        )
        term = leases.Term(self._now.boot, self._now.us, request.ttl_us)
        self._changes.opened.append((hold, term))
        return self._memory.begin(hold, term)

    def _add(self, mine: OpenHold, wants: Sequence[Want], cause: LockCause) -> list[Lock]:
        self.steps += 1
        now_us, changes, added = self._tx.now_us(), self._changes, list[Lock]()
        for want in wants:
            scope = want.resource.scope
            token, first = self._memory.next_token(self._tx, scope)
            if first or scope in changes.first_tokens:
                changes.first_tokens[scope] = token
            else:
                changes.last_tokens[scope] = token
            added.append(Lock(mine.hold.id, want.resource, want.mode, cause, token, now_us))
        changes.added += [(lock, head_of(lock.resource)) for lock in added]
        self._memory.add(added)
        self._events.append(_event(mine.hold, _granted(mine.hold, added, cause), AIRBOSS))
        return added

    def _renew(self, kept: OpenHold, ttl_us: int) -> None:
        self.steps += 1
        term = leases.Term(self._now.boot, self._now.us, ttl_us)
        self._memory.renew(kept, self._tx.now_us() + ttl_us, term)
        self._changes.renewed[kept.hold.id] = (kept.hold, term)

    def _over(self, hold: Hold, had: Sequence[Lock], why: HoldEnd, *, actor: str, reason: str) -> None:
        self._changes.over += had
        self.freed.update(lock.resource.scope for lock in had)
        if had:
            self._events.append(
                _event(hold, LocksReleased(hold.id, hold.holder, _names(had), str(why), reason[:500]), actor)
            )

    def _in_the_way(self, wants: Sequence[Want], mine: OpenHold | None, request: Request) -> list[Held]:
        blocking: list[Held] = []
        since_us = request.had_since_us
        ended = self._ended(wants, since_us) if since_us else None
        holds: dict[str, Hold | None] = {}
        for want in wants:
            near = self._memory.near.of(want.resource)
            for lock in tuple(near) if ended is None else (*near, *ended.of(want.resource)):
                path = None if mine is not None and lock.hold == mine.hold.id else conflict(want, lock)
                if path is None:
                    continue
                if lock.hold not in holds:
                    holds[lock.hold] = self._still(lock.hold, since_us)
                hold = holds[lock.hold]
                if hold is None or (hold.task and hold.task == request.task):
                    continue  # over, or what this task itself held before
                blocking.append(Held(lock, hold, path))
        return blocking

    def _ended(self, wants: Sequence[Want], since_us: int) -> Nearby[Lock]:
        """The locks near these that ended after a time: of few wants one by one, of many whole scopes at once."""
        self.write()  # what this transaction itself ended is among them
        if len(wants) > _FEW:
            scopes = {want.resource.scope: want.resource for want in wants}
            asked: list[tuple[Resource, Head]] = [(resource, ()) for resource in scopes.values()]
        else:
            asked = [(want.resource, head_of(want.resource)) for want in wants]
        return Nearby.of_locks(
            lock for resource, head in asked for lock in locks.ended(self._tx, resource, head, since_us)
        )

    def _still(self, wanted: str, since_us: int) -> Hold | None:
        """A hold that is in the way; one whose time is over is ended here. ``None``: it is in nobody's way."""
        kept = self._memory.holds.get(wanted)
        if kept is None:
            return locks.hold(self._tx, wanted)
        if kept.held(self._now):
            return kept.hold
        self.release(kept.hold, HoldEnd.EXPIRED)
        return kept.hold if since_us and kept.hold.task else None


@contextmanager
def opened(tx: Tx) -> Iterator[OpenBook]:
    """The book, for the block; what the block changed is written at its end. When the block raises, the whole
    transaction must be undone."""
    memory = tx.store.kept(Memory)
    read = memory.read(tx)
    page = OpenBook(tx, memory)
    page.start_again(read)
    try:
        yield page
        page.write()
    except BaseException:
        if page.changed:
            memory.forget()  # it says what the store never will
        raise


def acquire(tx: Tx, request: Request) -> LockAnswer:
    """See :meth:`OpenBook.acquire`."""
    with opened(tx) as page:
        return page.acquire(request)


def renew(tx: Tx, hold: Hold, ttl_us: int) -> Hold:
    """See :meth:`OpenBook.renew`."""
    with opened(tx) as page:
        return page.renew(hold, ttl_us)


def release(tx: Tx, hold: Hold, why: HoldEnd, *, actor: str = AIRBOSS, reason: str = "") -> None:
    """See :meth:`OpenBook.release`."""
    with opened(tx) as page:
        page.release(hold, why, actor=actor, reason=reason)


def _missing(request: Request, mine: OpenHold | None) -> Sequence[Want]:
    wants: Sequence[Want] = request.wants if len(request.wants) == 1 else tuple(dict.fromkeys(request.wants))
    return wants if mine is None else [want for want in wants if mine.cover.find(want) is None]


def _in_order(kept: OpenHold) -> list[Lock]:
    return [kept.locks[key] for key in sorted(kept.locks)]


def _granted(hold: Hold, taken: Sequence[Lock], cause: LockCause) -> LocksGranted:
    named = taken[:_NAMED_IN_EVENT]
    return LocksGranted(
        hold=hold.id,
        holder=hold.holder,
        resources=_names(taken),
        tokens=tuple(lock.token for lock in named),
        modes=tuple(str(lock.mode) for lock in named),
        cause=str(cause),
        expires_us=hold.expires_us,
    )


def _names(some: Sequence[Lock]) -> tuple[str, ...]:
    named = tuple(str(lock.resource)[:500] for lock in some[:_NAMED_IN_EVENT])
    more = len(some) - len(named)
    return (*named, f"and {more:,} more") if more else named


def _event(hold: Hold, event: LocksGranted | LocksReleased, actor: str) -> ledger.Entry:
    source = Source.CONTROLLER if actor == AIRBOSS else Source.PERSON
    return ledger.Entry(event, actor, source, Refs(task=hold.task))
