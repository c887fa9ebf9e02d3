"""Who can be reached in a private chat of their own, or on the console, and who should hear of a question there.

On Telegram and Slack a person's id also works as the id of the private chat with them. Slack answers with a chat id
of its own, which is remembered (``outbox/delivering.py``), since buttons and edits carry only that one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from bot.cards import Card
from bot.outbox.posting import Posts
from bot.telling import sounds
from fleet.config import FleetConfig
from fleet.model import ChatRef, PersonId, Task
from fleet.store.chat import cards as card_rows
from fleet.store.chat import moves, private
from fleet.store.core import Tx
from gates.people import CONSOLE, Right, console_chat, people


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person and their private chat. ``id`` is their id on that chat's platform."""

    name: str
    id: str
    chat: ChatRef


def recipients(
    tx: Tx, config: FleetConfig, right: Right, adapters: Collection[str], *, near: str = ""
) -> list[Recipient]:
    """Everyone in ``fleet.toml`` with this right whom one of these platforms reaches, each once. Whom none reaches
    is reached on the console, where it has them.

    ``near``: the platform to prefer for people who use several.
    """
    found: list[Recipient] = []
    for entry in people(config, right):
        known = [PersonId.parse(text) for text in entry.ids]
        ids = sorted((each for each in known if each.platform in adapters), key=lambda each: each.platform != near)
        for person in [*ids, *(each for each in known if each.platform == CONSOLE)][:1]:
            found.append(Recipient(entry.name, str(person), _own_chat(tx, person)))
    return found


def _own_chat(tx: Tx, person: PersonId) -> ChatRef:
    if person.platform == CONSOLE:
        return console_chat(person)
    return ChatRef(person.platform, moves.now_at(tx, person.platform, person.user))


def besides(tx: Tx, config: FleetConfig, right: Right, adapters: Collection[str], task: Task) -> list[Recipient]:
    """Everyone with the right who does not hear of it in the task's own chat, where its requester does."""
    requester = "" if task.origin.adapter == CONSOLE else sounds.known_as(config, task.requester)
    return [
        person
        for person in recipients(tx, config, right, adapters, near=task.origin.adapter)
        if person.name != requester and person.chat != task.origin
    ]


def post(posts: Posts, config: FleetConfig, person: Recipient, card: Card, *, key: str, task: str = "") -> None:
    """Posts a card to a person that waits for them. It makes a sound if they want one now."""
    private.remember(posts.tx, person.chat, person.id)
    sounds.post(posts, config, person.chat, replace(card, mention=person.id), key=key, task=task)


def ask(
    posts: Posts, config: FleetConfig, adapters: Collection[str], task: Task, card: Card, *, key: str, right: Right
) -> None:
    """Posts a question's card to everyone with the right who was not asked yet, in their own chats."""
    for person in besides(posts.tx, config, right, adapters, task):
        if card_rows.at(posts.tx, key, person.chat) is None:
            post(posts, config, person, card, key=key, task=task.id)
