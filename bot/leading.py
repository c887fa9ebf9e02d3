"""One controller a home, one leader a store, and others that stand by."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bot.controller_view import differing
from fleet.errors import StoreUnavailable, Unavailable
from fleet.ports import Clock
from fleet.store import controllers, leases
from fleet.store.boot import uptime_us
from fleet.store.controllers import Contender, Controller, RunsOn
from fleet.store.core import Store, Tx
from fleet.store.leases import Lease
from fleet.store.states import ControllerRole
from fleet.supervise import retry_while_store_is_away

TTL_US: Final = 10_000_000
"""How long nobody else may lead after the leader's last sign of life."""
_MARGIN_US: Final = 4_000_000
"""For what a chat needs to take a message: so much must be left of the time in which nobody else may lead."""
RENEW_SECONDS: Final = 3.0
_BEAT_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 20
"""For the lease of another, which may be that of an earlier version: 15 seconds from when it is first seen."""

_PATIENCE_AFTER_OUTAGE_S: Final = 2 * RENEW_SECONDS

_log = logging.getLogger(__name__)


async def lead(store: Store, me: Contender) -> Lease:
    """Leadership over the store. A predecessor at this place is dead, since its home's lock is ours; any other
    is waited for until its lease has run out."""
    for _ in range(_PATIENCE_SECONDS):
        lease = await store.write(lambda tx: _free(tx, me))
        if lease is not None:
            return lease
        await asyncio.sleep(1)
    raise Unavailable(
        attempted="lead this fleet",
        on=store.url,
        cause="another controller holds the store and keeps renewing its lease",
        hint="Stop that controller first, or wait for its end: airboss serve --standby.",
    )


class SureLead:
    """Until when nobody else may lead, as this process can know: a renewal promises :data:`TTL_US` from when it was
    begun, by a clock that goes on while this process is frozen and this machine asleep."""

    def __init__(self, store: Store, lease: Lease, clock: Clock, uptime_us: Callable[[], int] = uptime_us) -> None:
        self._store, self._lease, self._clock, self._uptime_us = store, lease, clock, uptime_us
        self._until_us = 0
        self._renewing = asyncio.Lock()

    def renewed(self, began_us: int) -> None:
        """The lease was renewed, in a write that began then, by :func:`fleet.store.boot.uptime_us`."""
        self._until_us = max(self._until_us, began_us + TTL_US)

    async def sure(self) -> None:
        """Comes back while nobody else may lead for some seconds: what cannot be fenced, a message to a chat, is
        sent then. Renews the lease if it must, however long the store is away. Raises ``LeadershipLost``."""
        if self._runs():
            return
        async with self._renewing:
            if not self._runs():
                await retry_while_store_is_away(self._renew, self._clock)

    def _runs(self) -> bool:
        return self._uptime_us() < self._until_us - _MARGIN_US

    async def _renew(self) -> None:
        began_us = self._uptime_us()
        await self._store.write(lambda tx: leases.renew(tx, self._lease, TTL_US))
        self.renewed(began_us)


@dataclass(slots=True)
class LeaderSilence:
    """Whether the leader's silence says that it is gone. While the store was away, or took long to answer one look,
    no leader could show that it lives: it has ``patience`` seconds for that, once."""

    patience: float
    clock: Callable[[], float] = time.monotonic
    _waits_until: float | None = field(default=None, init=False)  # infinite: the store is away

    def store_away(self) -> None:
        """A look failed."""
        self._waits_until = math.inf

    def says(self, began: float) -> bool:
        """Whether it does, in a look that began then."""
        now = self.clock()
        if self._waits_until is None:
            return now - began < RENEW_SECONDS
        return now >= self._waits_until

    def looked(self, said: bool) -> None:
        """A look succeeded. ``said``: what :meth:`says` said in it."""
        if said:
            self._waits_until = None
        elif self._waits_until in (None, math.inf):
            self._waits_until = self.clock() + self.patience


@dataclass(slots=True)
class StandBy:
    """Waits until the leader is gone, then leads. ``tell`` gets a line for each change, ``beat`` is the pause
    between two looks; ``takes_part``: meanwhile it leads tasks; ``waiting``: it waits now."""

    tell: Callable[[str], None]
    beat: float = _BEAT_SECONDS
    takes_part: bool = False
    silence: LeaderSilence = field(default_factory=lambda: LeaderSilence(_PATIENCE_AFTER_OUTAGE_S))
    waiting: bool = field(default=False, init=False)
    _led: Controller | None = field(default=None, init=False)
    _said: str = field(default="", init=False)

    async def lead(self, store: Store, me: Contender, runs_on: Callable[[], RunsOn]) -> Lease:
        """Leadership over the store. Until then this controller's row says that it stands by. A store that is away
        is waited for. ``runs_on`` gives what this home has now."""
        self.waiting = True
        while True:
            has = await asyncio.to_thread(runs_on)
            look = partial(_step, me=me, waits_as=self._role, has=has, led=self._led)
            says = partial(self.silence.says, began=self.silence.clock())
            try:
                lease, self._led = await store.write(partial(look, silence_says=says))
            except StoreUnavailable as error:
                self.silence.store_away()
                self._say(f"airboss stands by. The store does not answer: {error.cause}")
            else:
                self.silence.looked(says())
                if lease is not None:
                    self.waiting = False
                    return lease
                self._say(self._about(has))
            await asyncio.sleep(self.beat)

    @property
    def _role(self) -> ControllerRole:
        return ControllerRole.SHARES if self.takes_part else ControllerRole.STANDS_BY

    def _about(self, has: RunsOn) -> str:
        if self._led is None:
            return "airboss stands by: another process holds the store"
        if differs := has.differs(self._led.runs_on):
            return (
                f"airboss stands by and does NOT take over from {self._led.host}: {differing(differs)} "
                f"(fleet.toml is {has.fleet[:10] or 'unreadable'} here, {self._led.digest[:10]} there). Make them "
                "equal, or restart this controller once the other has ended, to lead with what is here"
            )
        return f"airboss stands by: {self._led.host} leads"

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            _log.info("%s", text)
            self.tell(text)


def _step(
    tx: Tx,
    *,
    me: Contender,
    waits_as: ControllerRole,
    has: RunsOn,
    led: Controller | None,
    silence_says: Callable[[], bool],
) -> tuple[Lease | None, Controller | None]:
    """One look of a controller that stands by: the lease if it may take over, else who led last. ``led``: who led
    at an earlier look; with none, nobody leads a fleet that this one could disagree with."""
    held, leader = leases.look(tx, leases.LEADERSHIP), controllers.last_leader(tx)
    last = leader or led
    silent = leader is not None and (leader.host, leader.home) != (me.host, me.home)
    if (held is not None and not _ours(held, me)) or (held is None and silent and not silence_says()):
        controllers.note(tx, me, waits_as, has)
        return None, last
    if led is not None and last is not None and has.differs(last.runs_on):
        controllers.note(tx, me, waits_as, has)
        return None, last
    lease = _free(tx, me)
    if lease is not None:
        controllers.note(tx, me, ControllerRole.LEADS, has)
    return lease, last


def _free(tx: Tx, me: Contender) -> Lease | None:
    held = leases.look(tx, leases.LEADERSHIP)
    if held is not None and _ours(held, me):
        return leases.seize(tx, leases.LEADERSHIP, me.instance, TTL_US)
    return leases.acquire(tx, leases.LEADERSHIP, me.instance, TTL_US)


def _ours(held: Lease, me: Contender) -> bool:
    return held.holder.startswith(f"{me.host}:{me.home}:")
