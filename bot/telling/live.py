"""Keeps the /status card current while it is the newest message in its chat.

It is edited at most every few seconds, only when it says something new, and for a limited time. The store knows
where it is, so editing continues after a restart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from zoneinfo import ZoneInfo

from bot.cards import Card
from bot.outbox.posting import Outbox, Posts
from bot.registry import FleetControl
from bot.telemetry_view import FleetView, look, status_card
from fleet.config import FleetConfig
from fleet.machines.watch import MachineSeen
from fleet.model import ChatRef
from fleet.store.chat import settings
from fleet.store.chat.settings import OfChat
from fleet.store.core import Tx
from fleet.store.overview import Newest, newest_cards

STATUS_KEY: Final = "status"
EVERY_SECONDS: Final = 15.0
LIVES_US: Final = 30 * 60_000_000
_MINUTE_US: Final = 60_000_000


def begin(posts: Posts, chat: ChatRef, card: Card, zone: ZoneInfo) -> None:
    """Puts the card into the chat, and keeps it current in the times of whoever asked."""
    settings.put(posts.tx, _zone_key(chat), zone.key)
    posts.post(chat, card, key=STATUS_KEY)


@dataclass(slots=True)
class LiveStatus:
    """The status cards of one controller; :meth:`refresh` updates them."""

    outbox: Outbox
    config: Callable[[], FleetConfig]
    fleet: FleetControl
    _shown: dict[int, str] = field(default_factory=dict)

    async def refresh(self) -> int:
        """Edits every current card that would now say something new. Returns how many."""
        places, zones = await self.outbox.store.read(_places)
        self._shown = {place.put: self._shown[place.put] for place in places if place.put in self._shown}
        if not places:
            return 0
        view = await self.outbox.store.read(look)
        config, seen, troubles = self.config(), self.fleet.machines(), self.fleet.troubles().lines
        text = _lasting_text(config, view, seen, troubles)
        stale = [place for place in places if self._shown.get(place.put, "") != text]
        if stale:
            serving = self.fleet.serving()
            cards = {
                zone: status_card(config, view, seen, troubles, serving=serving, zone=ZoneInfo(zone))
                for zone in {zones[place.put] for place in stale}
            }
            await self.outbox.store.write(
                lambda tx: _edit(self.outbox.open(tx), [(place, cards[zones[place.put]]) for place in stale])
            )
            self._shown.update({place.put: text for place in stale})
        return len(stale)


def _places(tx: Tx) -> tuple[list[Newest], dict[int, str]]:
    """Where the cards are, and the zone of whoever asked for each, by its row."""
    places = newest_cards(tx, STATUS_KEY, tx.now_us() - LIVES_US)
    return places, {place.put: settings.get(tx, _zone_key(_chat(place)), "UTC") for place in places}


def _chat(place: Newest) -> ChatRef:
    return ChatRef(place.adapter, place.chat, place.thread)


def _zone_key(chat: ChatRef) -> str:
    return f"{OfChat.STATUS_ZONE}:{json.dumps([chat.adapter, chat.chat, chat.thread])}"


def _edit(posts: Posts, changes: Iterable[tuple[Newest, Card]]) -> None:
    for place, card in changes:
        posts.repost(_chat(place), card, key=STATUS_KEY)


def _lasting_text(
    config: FleetConfig, view: FleetView, seen: Mapping[str, MachineSeen], troubles: Sequence[str]
) -> str:
    """What the card says without what always changes: loads and ages. Minutes count only while an agent works."""
    overview = view.overview
    minute = overview.now_us // _MINUTE_US * _MINUTE_US if overview.sessions else 0
    sessions = tuple(replace(session, started_us=min(session.started_us, minute)) for session in overview.sessions)
    steady_view = replace(view, overview=replace(overview, now_us=minute, sessions=sessions))
    steady_seen = {
        name: replace(machine, seen_us=min(machine.seen_us, 1), load_milli=0) for name, machine in seen.items()
    }
    return replace(status_card(config, steady_view, steady_seen, troubles), footer="").to_json()
