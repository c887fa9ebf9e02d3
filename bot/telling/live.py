"""The /status card keeps itself current while it is the newest in its chat.

It is edited at most every few seconds, only when it says something new, and not for ever; where it lives stands in
the store, so a restart in between goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from bot.cards import Card
from bot.health import Serving, Troubles
from bot.outbox.posting import Outbox, Posts
from bot.telemetry_view import FleetView, look, status_card
from fleet.config import FleetConfig
from fleet.machines.watch import MachineSeen
from fleet.model import ChatRef
from fleet.ports import Clock
from fleet.store.overview import Newest, newest_cards

STATUS_KEY: Final = "status"
EVERY_SECONDS: Final = 15.0
LIVES_US: Final = 30 * 60_000_000
_MINUTE_US: Final = 60_000_000


class LiveFleet(Protocol):
    """What the card shows besides the store."""

    def machines(self) -> Mapping[str, MachineSeen]:
        """The last contact with each machine, by name."""

    def troubles(self) -> Troubles:
        """What is not well with the controller itself."""

    def serving(self) -> Serving:
        """Which controller this is, and since when it runs."""


class LiveStatus:
    """The cards of one controller; :meth:`refresh` brings them up to date."""

    def __init__(
        self,
        outbox: Outbox,
        config: Callable[[], FleetConfig],
        fleet: LiveFleet,
        clock: Clock,
    ) -> None:
        self._outbox, self._store = outbox, outbox.store
        self._config, self._fleet = config, fleet
        self._clock = clock
        self._told: dict[int, str] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            await self.refresh()

    async def refresh(self) -> int:
        """Edits every living card that would now say something new; answers how many."""
        places = await self._store.read(lambda tx: newest_cards(tx, STATUS_KEY, tx.now_us() - LIVES_US))
        self._told = {one.put: self._told[one.put] for one in places if one.put in self._told}
        if not places:
            return 0
        view = await self._store.read(look)
        config, seen, troubles = self._config(), self._fleet.machines(), self._fleet.troubles().lines
        said = _said(config, view, seen, troubles)
        stale = [one for one in places if self._told.get(one.put, "") != said]
        if stale:
            card = status_card(config, view, seen, troubles, serving=self._fleet.serving())
            await self._store.write(lambda tx: _edit(self._outbox.open(tx), stale, card))
            self._told.update({one.put: said for one in stale})
        return len(stale)


def _edit(posts: Posts, places: list[Newest], card: Card) -> None:
    for one in places:
        posts.repost(ChatRef(one.adapter, one.chat, one.thread), card, key=STATUS_KEY)


def _said(config: FleetConfig, view: FleetView, seen: Mapping[str, MachineSeen], troubles: Sequence[str]) -> str:
    """What the card tells, without what moves by itself: loads and ages, and minutes only while somebody works."""
    still = view.overview
    minute = still.now_us // _MINUTE_US * _MINUTE_US if still.sessions else 0
    begun = tuple(replace(one, started_us=min(one.started_us, minute)) for one in still.sessions)
    at_rest = replace(view, overview=replace(still, now_us=minute, sessions=begun))
    calm = {name: replace(one, seen_us=min(one.seen_us, 1), load_milli=0) for name, one in seen.items()}
    return replace(status_card(config, at_rest, calm, troubles), footer="").to_json()
