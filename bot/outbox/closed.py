"""The private chat of a person without rights: nothing about the fleet goes there any more, new or changed.

Rights end when ``fleet.toml`` no longer lists the id (the phone was lost). Whoever has that phone may still write,
and is answered that they are not registered: a plain answer is the only thing that is still sent.
"""

from __future__ import annotations

from collections.abc import Callable

from fleet.config import FleetConfig
from fleet.model import PersonId
from fleet.store.chat import private
from fleet.store.chat.outbox import Delivery
from fleet.store.core import Tx
from gates.people import who

WHY = "the person in this private chat has no rights any more"


def closed(config: Callable[[], FleetConfig], tx: Tx, delivery: Delivery) -> bool:
    """Whether this row must not be sent."""
    plain = not (delivery.task or delivery.card_key or delivery.message_id or delivery.ping)
    owner = "" if plain else private.owner(tx, delivery.chat)
    return bool(owner) and who(config(), PersonId.parse(owner)) is None
