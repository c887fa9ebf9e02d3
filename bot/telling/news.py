"""*What changed for you*: shown once after an upgrade, to the first admin, and never in a new home.

An edition is what an upgrade changed for the people who run Airboss, in a few lines; CHANGELOG.md has all changes.
When a release changes what they see or must do, append an edition. Never change one that was released.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bot.cards import Card, line
from bot.outbox.posting import Posts, Priority
from fleet.config import FleetConfig
from fleet.model import ChatRef, PersonId
from fleet.store import ledger
from fleet.store.chat import settings
from gates.people import Role

TOLD: Final = "news.told"
"""The setting that holds how many editions this home has been shown."""

EDITIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "Only a completed turn is judged. Others keep their work and wait: /go, /judge or /stop.",
        "A full disk or an unavailable database pauses the fleet; it continues automatically.",
        "Upgrades keep your ledger, receipts and open tasks.",
        "airboss.log is redacted, and only its owner can read it.",
        "Changing the clock of the controller's machine no longer ends or prolongs a lease.",
        "Gates run isolated. A gate that needs the network: network = true.",
    ),
)


def begin(posts: Posts, chat: ChatRef | None) -> None:
    """Call it when a controller starts: posts to ``chat`` what is new, and nothing in a new home.

    Without a chat it is shown on the console, to the first terminal that follows.
    """
    if not settings.get(posts.tx, TOLD) and not ledger.size(posts.tx):
        settings.put(posts.tx, TOLD, str(len(EDITIONS)))
    if chat is not None:
        tell(posts, chat)


def tell(posts: Posts, chat: ChatRef) -> int:
    """Posts what was not shown yet and records it. Returns the outbox row, 0 when there was nothing to show."""
    told = int(settings.get(posts.tx, TOLD) or 0)
    lines = [text for edition in EDITIONS[told:] for text in edition]
    if not lines:
        return 0
    settings.put(posts.tx, TOLD, str(len(EDITIONS)))
    card = Card(title=line("What changed for you"), lines=tuple(line("• ", text) for text in lines))
    return posts.post(chat, card, priority=Priority.CARD)


def direct_chat(config: FleetConfig, adapters: Collection[str]) -> ChatRef | None:
    """The private chat of the first admin of ``fleet.toml`` on one of these platforms; ``None``: there is none.

    On Telegram and Slack a person's id is also the id of the private chat with them.
    """
    ids = _ids_of_first_admin(config)
    return next((ChatRef(person.platform, person.user) for person in ids if person.platform in adapters), None)


def first_admin(config: FleetConfig, chat: ChatRef | None) -> str:
    """The id (``str(PersonId)``) by which the first admin reads this chat; empty when they do not."""
    ids = _ids_of_first_admin(config)
    here = (str(each) for each in ids if chat and (each.platform, each.user) == (chat.adapter, chat.chat))
    return next(here, "")


def _ids_of_first_admin(config: FleetConfig) -> list[PersonId]:
    ids = next((person.ids for person in config.people if Role(person.role) is Role.ADMIN), [])
    return [PersonId.parse(text) for text in ids]
