"""Who asks about locks: what each wants done in the next transaction, and who stands in line before whom."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleet.errors import LeaseLost, Refused, StoreUnavailable
from fleet.locks import Blocked, Granted, Held, LockAnswer, LockMode, Want
from fleet.store.group import another
from gates.locks.book import NotHeld, OpenBook, Request
from gates.locks.overlap import Nearby, conflict


@dataclass(eq=False, slots=True)
class Waiter:
    """One in line. ``answer`` is set by the commit that grants; ``blocked``: what was last in its way, by the line
    alone where it is ``unlooked``."""

    number: int
    request: Request
    since_us: int
    answer: asyncio.Future[Granted] = field(repr=False)
    blocked: Blocked | None = None
    unlooked: bool = False
    scopes: frozenset[str] = field(init=False, repr=False)
    things: frozenset[str] = field(init=False, repr=False)  # of named things that it wants for itself

    def __post_init__(self) -> None:
        wants = self.request.wants
        self.scopes = frozenset(want.resource.scope for want in wants)
        self.things = frozenset(
            want.resource.scope for want in wants if not want.resource.repo and want.mode is LockMode.EXCLUSIVE
        )


def surely_behind(waiter: Waiter, line: Iterable[Waiter]) -> Blocked | None:
    """What somebody ahead wants too, where that needs no look at the book: for named things alone."""
    if any(want.resource.repo for want in waiter.request.wants):
        return None
    for other in line:
        if other.number >= waiter.number:
            return None
        if other.scopes.isdisjoint(waiter.scopes) or other.answer.done():
            continue
        for want in waiter.request.wants:
            if any(conflict(want, theirs) is not None for theirs in other.request.wants):
                return Blocked(other.blocked.by if other.blocked else (), other.request.holder)
    return None


def circle(waiter: Waiter, line: Iterable[Waiter]) -> tuple[str, ...]:
    """Holders of whom each waits for the next one and the last for this one, by what was last in their way."""
    waits: dict[str, set[str]] = {}
    for each in line:
        if each.blocked is not None and not each.answer.done():
            behind = {each.blocked.ahead} if each.blocked.ahead else set[str]()
            waits.setdefault(each.request.holder, set()).update(behind, *_holders(each.blocked.by))
    return _way_back(waiter.request.holder, waits)


def circle_now(page: OpenBook, waiter: Waiter, line: Sequence[Waiter], among: Sequence[str]) -> tuple[str, ...]:
    """As :func:`circle`, by what is held now, among these holders; empty unless this is the youngest of their
    requests."""
    theirs = [each for each in line if each.request.holder in among and not each.answer.done()]
    if not theirs or theirs[-1] is not waiter:
        return ()
    waits: dict[str, set[str]] = {}
    for at, each in enumerate(theirs):
        ahead = {other.request.holder for other in theirs[:at] if _collide(each, other)}
        waits.setdefault(each.request.holder, set()).update(ahead, *_holders(page.in_the_way(each.request)))
    return _way_back(waiter.request.holder, waits)


def _collide(one: Waiter, other: Waiter) -> bool:
    return any(conflict(want, wanted) is not None for want in one.request.wants for wanted in other.request.wants)


def _holders(held: Iterable[Held]) -> Iterable[set[str]]:
    return ({each.hold.holder} for each in held)


def _way_back(start: str, waits: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The shortest way along ``waits`` from a holder to itself over others; empty: there is none."""
    ways, seen = deque[tuple[str, ...]]([(start,)]), {start}
    while ways:
        way = ways.popleft()
        for then in sorted(waits.get(way[-1], ())):
            if then == start and len(way) > 1:
                return way
            if then not in seen:
                seen.add(then)
                ways.append((*way, then))
    return ()


def unlooked_after(winner: Waiter, line: Iterable[Waiter]) -> bool:
    """Whether somebody whose turn is next, now that one of the line was granted everything, was never looked at."""
    scopes = set(winner.scopes)
    for other in line:
        if other.number > winner.number and not other.answer.done() and not scopes.isdisjoint(other.scopes):
            if other.unlooked:
                return True
            scopes -= other.scopes
    return False


class Ahead:
    """Those of a line who got nothing so far: nobody behind them gets what they want. ``won``: the numbers of those
    who were granted everything in this transaction."""

    def __init__(self, line: Iterable[Waiter], won: set[int] | None = None) -> None:
        self._coming = deque(line)
        self._near: Nearby[tuple[Waiter, Want]] = Nearby()
        self._things: set[str] = set()  # the scopes of named things that somebody ahead wants for itself
        self.won: set[int] = set() if won is None else won

    def attempt(self, page: OpenBook, waiter: Waiter) -> LockAnswer:
        """Everything that one in line wants, unless somebody holds it, or has waited longer for it.

        Who waits for what this one holds already is in nobody's way: it waits for this one.
        """
        self._until(waiter)
        for want in page.missing(waiter.request):
            for other, theirs in self._near.of(want.resource):
                if conflict(want, theirs) is not None:
                    return Blocked(other.blocked.by if other.blocked else (), other.request.holder)
        answer = page.acquire(waiter.request)
        if isinstance(answer, Granted):
            self.won.add(waiter.number)
        return answer

    def surely(self, waiter: Waiter) -> bool:
        """Whether somebody ahead surely wants some of the same: found out in no time."""
        self._until(waiter)
        return not self._things.isdisjoint(waiter.scopes)

    def _until(self, waiter: Waiter) -> None:
        while self._coming and self._coming[0].number < waiter.number:
            self._add(self._coming.popleft())

    def _add(self, waiter: Waiter) -> None:
        if waiter.number in self.won or waiter.answer.done():
            return
        for at, want in enumerate(waiter.request.wants):
            if want.resource.scope in self._things:
                continue  # whoever meets this one has met that one
            self._near.add(want.resource, (waiter.number, at), (waiter, want))
        self._things |= waiter.things


@dataclass(eq=False, slots=True)
class Wish:
    """Something to do in the next transaction. Its commit tells ``told`` the result, then sets ``answer``."""

    work: Callable[[OpenBook, Ahead], Any]
    answer: asyncio.Future[Any]
    told: Callable[[Any], None] | None = None
    result: object = None
    refusal: NotHeld | Refused | LeaseLost | None = None

    def run(self, page: OpenBook, ahead: Ahead) -> None:
        """Does it. A refusal that changed nothing is its own answer, and ends nobody else's work."""
        before = page.steps
        self.refusal = None
        try:
            self.result = self.work(page, ahead)
        except (NotHeld, Refused, LeaseLost) as error:
            if page.steps != before:
                raise
            self.refusal = error

    def settle(self) -> None:
        """On the event loop, after the commit."""
        if self.refusal is not None:
            self.fail(self.refusal)
            return
        if self.told is not None:
            self.told(self.result)
        if not self.answer.done():
            self.answer.set_result(self.result)

    def fail(self, error: Exception) -> None:
        """On the event loop: nothing was done."""
        if not self.answer.done():
            self.answer.set_exception(another(error) if isinstance(error, StoreUnavailable) else error)
