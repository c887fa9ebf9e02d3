"""Locks over the control socket: what ``airboss lock`` and ``airboss locks`` ask for.

``lock`` with ``op`` acquire (``resources``, ``holder``, ``ttl_us``, ``shared``, ``repo``, ``wait``, ``hold``,
``secret_sha256``), release or renew (``resources``, ``repo``, ``secret``, ``ttl_us``), or list. The last line of
the answer carries ``data`` for scripts. ``hold`` is chosen by the client, so that a request sent twice is granted
once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from fleet.errors import LeaseLost, Misused
from fleet.locks import Blocked, Hold, Lock, LockCause, LockMode, Resource, Want
from fleet.store import locks
from fleet.store.core import Store, Tx
from gates.locks import book
from gates.locks.book import NotHeld, NotYours
from gates.locks.overlap import head_of
from gates.locks.service import Leaves, LockService

SHORTEST_US: Final = 100_000
LONGEST_US: Final = 7 * 24 * 3_600_000_000
_HOLD = re.compile(r"[0-9a-f]{16}")
_OF_FLEET = re.compile(r"[th]\d+", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST: Final = 1_000
_LONGEST_WAIT_S: Final = 24 * 3_600.0


@dataclass(frozen=True, slots=True)
class LockReply:
    """What the command prints: ``status`` by the contract, ``data`` for ``--json``, ``text`` for people."""

    status: int
    data: dict[str, object]
    text: str


async def answer(
    service: LockService,
    store: Store,
    request: dict[str, Any],
    asker: Leaves | None = None,
    repos: Collection[str] | None = None,
) -> LockReply:
    """Does what one request asks for. ``repos``: all there are, where that is known. Raises ``Misused`` for what is
    malformed, and ``StoreUnavailable``."""
    match str(request.get("op")):
        case "acquire":
            return await _acquire(service, request, asker, repos)
        case "release":
            return await _release(service, request)
        case "renew":
            return await _renew(service, request)
        case "list":
            return await _list(service, store)
        case other:
            raise _wrong(f"there is no {other[:40]!r}", "Known: acquire, release, renew, list")


async def _acquire(
    service: LockService, request: dict[str, Any], asker: Leaves | None, repos: Collection[str] | None
) -> LockReply:
    mode = LockMode.SHARED if request.get("shared") is True else LockMode.EXCLUSIVE
    hold, secret_sha256 = str(request.get("hold")), str(request.get("secret_sha256"))
    holder = str(request.get("holder", "")).strip()
    if not holder or len(holder) > 200 or not holder.isprintable():
        raise _wrong("a holder has 1 to 200 printable characters", "Say who you are: --holder NAME")
    if _OF_FLEET.fullmatch(holder):
        raise _wrong(f"{holder} is the name of a task or of a hooked session", "Give --holder a name of your own.")
    if not _HOLD.fullmatch(hold) or not _SHA256.fullmatch(secret_sha256):
        raise _wrong("the id or the digest of the secret is malformed", "Use the airboss command.")
    wanted = book.Request(
        holder=holder,
        wants=tuple(Want(resource, mode) for resource in _resources(request, partial(Resource.typed, repos=repos))),
        ttl_us=_ttl_us(request),
        cause=LockCause.COMMAND,
        secret_sha256=secret_sha256,
        hold=hold,
    )
    wait = request.get("wait")
    seconds = min(float(wait), _LONGEST_WAIT_S) if isinstance(wait, int | float) else 0.0
    given = await service.acquire(wanted, wait_seconds=seconds, asker=asker)
    if isinstance(given, Blocked):
        return _held_by(given)
    return _granted(given.hold, given.locks)


async def _release(service: LockService, request: dict[str, Any]) -> LockReply:
    resources, secret = _resources(request), str(request.get("secret", ""))
    try:
        await service.release(resources, secret)
    except NotHeld as error:
        nothing: dict[str, object] = {"leases": [], "released": [], "not_held": error.on}
        return LockReply(1, nothing, f"{error.on} is not held.\n")
    except NotYours as error:
        return _held_by(Blocked((error.held,)), error.hint)
    names = [str(resource) for resource in resources]
    return LockReply(0, {"leases": [], "released": names}, "".join(f"{name} released\n" for name in names))


async def _renew(service: LockService, request: dict[str, Any]) -> LockReply:
    resources, secret, ttl_us = _resources(request), str(request.get("secret", "")), _ttl_us(request)
    try:
        renewed = await service.renew(resources, secret, ttl_us)
    except (NotHeld, LeaseLost) as error:
        return LockReply(1, {"leases": [], "not_held": error.on}, f"{error.on} is not held any more.\n")
    except NotYours as error:
        return _held_by(Blocked((error.held,)), error.hint)
    data = [_lease(hold, lock) for hold, some in renewed for lock in some]
    return LockReply(0, {"leases": data}, "".join(f"{row['resource']} until {row['expires_at']}\n" for row in data))


async def _list(service: LockService, store: Store) -> LockReply:
    def read(tx: Tx) -> tuple[int, list[tuple[Hold, list[Lock]]]]:
        return tx.now_us(), locks.held(tx)

    now, found = await store.read(read)
    live = [(hold, lock) for hold, some in found if hold.expires_us > now for lock in some]
    held = [
        {
            **_lease(hold, lock),
            "holder": hold.holder,
            "task": hold.task,
            "mode": str(lock.mode),
            "cause": str(lock.cause),
            "since": _instant(lock.since_us),
            "advisory": not lock.resource.repo,
        }
        for hold, lock in live
    ]
    waiting = [
        {
            "holder": waiter.request.holder,
            "resources": [str(want.resource) for want in waiter.request.wants],
            "since": _instant(waiter.since_us),
        }
        for waiter in service.line
    ]
    lines = [
        f"{row['resource']}{lock.marks} · {row['holder']} · since {row['since']} · until {row['expires_at']}\n"
        for row, (_, lock) in zip(held, live, strict=True)
    ]
    for waiter in service.line:
        wanted = ", ".join(str(want.resource) for want in waiter.request.wants)
        lines.append(f"{waiter.request.holder} waits for {wanted}\n")
    return LockReply(0, {"locks": held, "waiting": waiting}, "".join(lines) or "No locks are held.\n")


def _granted(hold: Hold, some: tuple[Lock, ...]) -> LockReply:
    rows = [_lease(hold, lock) for lock in some]
    return LockReply(
        0,
        {"leases": rows},
        "".join(
            f"{row['resource']}{lock.marks} · token {row['token']} · until {row['expires_at']}\n"
            for row, lock in zip(rows, some, strict=True)
        ),
    )


def _held_by(blocked: Blocked, hint: str = "") -> LockReply:
    rows = [
        {
            "resource": str(held.lock.resource),
            "holder": held.hold.holder,
            "since": _instant(held.lock.since_us),
            "until": _instant(held.hold.expires_us),
            "path": held.path,
        }
        for held in blocked.by
    ]
    lines = [
        f"{row['resource']} is held by {row['holder']} since {row['since']}, until {row['until']}\n" for row in rows
    ]
    if blocked.ahead:
        lines.append(f"{blocked.ahead} has waited longer for it\n")
    if blocked.circle:
        ring = " for ".join((*blocked.circle, blocked.circle[0]))
        lines.append(f"Each would wait for the next: {ring}. You asked last, so you are refused.\n")
        lines.append("Release what you hold first, or ask for everything at once.\n")
    if hint:
        lines.append(f"{hint}\n")
    data: dict[str, object] = {"leases": [], "held": rows, "ahead": blocked.ahead}
    if blocked.circle:
        data["circle"] = list(blocked.circle)
    return LockReply(1, data, "".join(lines))


def _lease(hold: Hold, lock: Lock) -> dict[str, object]:
    return {"resource": str(lock.resource), "token": lock.token, "expires_at": _instant(hold.expires_us)}


def _resources(request: dict[str, Any], read: Callable[[str, str], Resource] = Resource.parse) -> list[Resource]:
    named = request.get("resources")
    if not isinstance(named, list) or not named or len(named) > _MOST:
        raise _wrong(
            f"it takes 1 to {_MOST} resources", "For example: airboss lock acquire deploy --holder me --ttl 60"
        )
    found = [read(str(text), str(request.get("repo", ""))) for text in named]
    for resource in found:
        head_of(resource)  # a malformed pattern is refused before anything is written
    return list(dict.fromkeys(found))


def _ttl_us(request: dict[str, Any]) -> int:
    ttl = request.get("ttl_us")
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not SHORTEST_US <= ttl <= LONGEST_US:
        raise _wrong("a lock lasts from 0.1 seconds to 7 days", "For example: --ttl 60")
    return ttl


def _instant(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _wrong(cause: str, hint: str) -> Misused:
    return Misused(attempted="handle a lock", cause=cause, hint=hint)
