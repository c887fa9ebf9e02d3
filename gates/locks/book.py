"""The rules of locks inside one transaction: what conflicts, what is granted, what ends.

All or nothing: a request gets everything it wants in one transaction, or nothing. Two locks conflict when some path
is named by both (for named things: when they have one name), unless both are shared or both are of one hold. A hold
whose time is over is in nobody's way: whoever conflicts with it ends it, and its fence fails from then on.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
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
from gates.locks.overlap import Cover, Nearby, conflict, head_of

_NAMED_IN_EVENT: Final = 50
"""Resources of one event that the ledger names; more are counted."""

_FEW: Final = 16
"""Up to so many wants ask the store one by one."""


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
    return hashlib.sha256(secret.encode()).hexdigest()


def acquire(tx: Tx, request: Request) -> LockAnswer:
    """Grants everything or nothing. What the same hold has already is not taken twice."""
    mine = locks.of_task(tx, request.task) if request.task else locks.hold(tx, request.hold)
    if mine is not None and not leases.held(tx, mine.lease):
        expire(tx, mine)
        mine = None
    cover = Cover(locks.of_hold(tx, mine.id) if mine is not None else ())
    missing = [want for want in dict.fromkeys(request.wants) if cover.find(want) is None]
    blocking = _in_the_way(tx, missing, mine, request)
    if blocking:
        return Blocked(tuple(blocking))
    if mine is None:
        mine = locks.open_hold(
            tx,
            request.hold,
            holder=request.holder,
            task=request.task,
            secret_sha256=request.secret_sha256,
            ttl_us=request.ttl_us,
        )
    taken = locks.add(tx, mine, [(want, head_of(want.resource)) for want in missing], request.cause)
    if taken:
        _record_grant(tx, mine, taken, request.cause)
    for lock in taken:
        cover.add(lock)
    return Granted(mine, tuple(found for want in request.wants if (found := cover.find(want)) is not None))


def renew(tx: Tx, hold: Hold, ttl_us: int) -> Hold:
    """The hold for ``ttl_us`` from now. Raises ``LeaseLost`` when it is over."""
    renewed = leases.renew(tx, leases.Lease(hold.lease, hold.holder, 1, 0), ttl_us)
    return replace(hold, expires_us=renewed.expires_us)


def release(tx: Tx, hold: Hold, why: HoldEnd, *, actor: str = AIRBOSS, reason: str = "") -> None:
    """Ends a hold with all that it has. One that is over already is left as it is."""
    now = locks.hold(tx, hold.id)
    if now is not None and now.end is HoldEnd.NONE:
        _end(tx, hold, locks.of_hold(tx, hold.id), why, actor=actor, reason=reason)


def expire(tx: Tx, hold: Hold) -> None:
    """Ends a hold whose time is over."""
    release(tx, hold, HoldEnd.EXPIRED)


def let_go(
    tx: Tx, hold: Hold, some: Sequence[Lock], why: HoldEnd, *, actor: str = AIRBOSS, reason: str = ""
) -> None:
    """Ends some locks of a hold; with the last of them, the hold."""
    had = locks.of_hold(tx, hold.id)
    if not had:
        release(tx, hold, why, actor=actor, reason=reason)
        return
    if set(some) >= set(had):
        _end(tx, hold, had, why, actor=actor, reason=reason)
        return
    locks.end_locks(tx, some)
    _record_end(tx, hold, some, why, actor=actor, reason=reason)


def _end(tx: Tx, hold: Hold, had: Sequence[Lock], why: HoldEnd, *, actor: str, reason: str) -> None:
    locks.end(tx, hold, had, why)
    _record_end(tx, hold, had, why, actor=actor, reason=reason)


def by_secret(tx: Tx, resources: Iterable[Resource], secret: str, attempted: str) -> list[tuple[Hold, list[Lock]]]:
    """The holds that a secret opens among those that have these resources, with the locks meant.

    Raises ``NotHeld`` when nobody holds a resource, ``NotYours`` when another secret opens it: a name alone does
    nothing.
    """
    sha256 = digest(secret)
    found: dict[str, tuple[Hold, list[Lock]]] = {}
    for resource in resources:
        mine: tuple[Hold, Lock] | None = None
        another: Held | None = None
        for lock in locks.near(tx, resource, head_of(resource)):
            hold = locks.hold(tx, lock.hold) if lock.resource == resource else None
            if hold is None:
                continue
            if hold.secret_sha256 and hmac.compare_digest(hold.secret_sha256, sha256):
                mine = (hold, lock)
            another = Held(lock, hold)
        if mine is not None:
            found.setdefault(mine[0].id, (mine[0], []))[1].append(mine[1])
        elif another is not None:
            raise NotYours(attempted, another)
        else:
            raise NotHeld(str(resource))
    return list(found.values())


def _in_the_way(tx: Tx, wants: Sequence[Want], mine: Hold | None, request: Request) -> list[Held]:
    blocking: list[Held] = []
    since_us = request.had_since_us
    nearby = _nearby(tx, wants, since_us)
    holds: dict[str, Hold | None] = {}
    for want in wants:
        for lock in nearby(want.resource):
            path = None if mine is not None and lock.hold == mine.id else conflict(want, lock)
            if path is None:
                continue
            if lock.hold not in holds:
                holds[lock.hold] = _still(tx, lock.hold, since_us)
            hold = holds[lock.hold]
            if hold is None or (hold.task and hold.task == request.task):
                continue  # over, or what this task itself held before
            blocking.append(Held(lock, hold, path))
    return blocking


def _nearby(tx: Tx, wants: Sequence[Want], since_us: int) -> Callable[[Resource], Iterable[Lock]]:
    """For a resource, the locks that may conflict with it: asked of the store, or read at once where many ask."""
    if len(wants) <= _FEW:

        def ask(resource: Resource) -> Iterable[Lock]:
            head = head_of(resource)
            return (
                *locks.near(tx, resource, head),
                *(locks.ended(tx, resource, head, since_us) if since_us else ()),
            )

        return ask
    found: list[Lock] = []
    for scope in dict.fromkeys(want.resource.scope for want in wants):
        whole = next(want.resource for want in wants if want.resource.scope == scope)
        found += locks.near(tx, whole, ())
        found += locks.ended(tx, whole, (), since_us) if since_us else ()
    return Nearby(found).of


def _still(tx: Tx, wanted: str, since_us: int) -> Hold | None:
    """A hold that is in the way; one whose time is over is ended here. ``None``: it is in nobody's way."""
    hold = locks.hold(tx, wanted)
    if hold is None or hold.end is not HoldEnd.NONE or leases.held(tx, hold.lease):
        return hold
    expire(tx, hold)
    return hold if since_us and hold.task else None


def _record_grant(tx: Tx, hold: Hold, taken: Sequence[Lock], cause: LockCause) -> None:
    named = taken[:_NAMED_IN_EVENT]
    event = LocksGranted(
        hold=hold.id,
        holder=hold.holder,
        resources=_names(taken),
        tokens=tuple(lock.token for lock in named),
        modes=tuple(str(lock.mode) for lock in named),
        cause=str(cause),
        expires_us=hold.expires_us,
    )
    _append(tx, hold, event, AIRBOSS)


def _record_end(tx: Tx, hold: Hold, had: Sequence[Lock], why: HoldEnd, *, actor: str, reason: str) -> None:
    if had:
        _append(tx, hold, LocksReleased(hold.id, hold.holder, _names(had), str(why), reason[:500]), actor)


def _names(some: Sequence[Lock]) -> tuple[str, ...]:
    named = tuple(str(lock.resource)[:500] for lock in some[:_NAMED_IN_EVENT])
    more = len(some) - len(named)
    return (*named, f"and {more:,} more") if more else named


def _append(tx: Tx, hold: Hold, event: LocksGranted | LocksReleased, actor: str) -> None:
    source = Source.CONTROLLER if actor == AIRBOSS else Source.PERSON
    ledger.append(tx, event, actor=actor, source=source, refs=Refs(task=hold.task))
