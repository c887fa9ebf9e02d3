"""Removes buttons from cards in chats once they were pressed or would do nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from bot.cards import Action, Card, Tone, line
from bot.outbox.posting import Posts
from bot.telling import asks
from fleet.model import ENDS, ChatRef, Task
from fleet.store import tasks
from fleet.store.chat import buttons as button_rows
from fleet.store.chat import cards as card_rows
from fleet.store.chat.cards import LiveCard
from fleet.store.core import Tx


def pressed(posts: Posts, button: button_rows.Pressable, by: str) -> None:
    """Removes a once-only button that was just pressed from its card. Of a choice it removes all, and the card says
    which was pressed."""
    posted = card_rows.by_put(posts.tx, button.put) if button.once else None
    if posted is None or not posted.card_json:
        return
    card = Card.from_json(posted.card_json)
    label = next((action.label for action in card.actions if action.token == button.token), "")
    if not label:
        return  # what it did has changed the card already
    if not card.choice:
        _keep(posts, posted, lambda action: action.token != button.token, soon=True)
        return
    button_rows.spend(posts.tx, posted.chat, button.put, by)
    rest = tuple(action for action in card.actions if not action.once)
    answered = replace(card, lines=(line(f"✓ {label}"),), actions=rest, tone=Tone.PLAIN, choice=False)
    posts.repost(posted.chat, answered, key=posted.key, soon=True)


def withdraw(posts: Posts, chat: ChatRef, *commands: str) -> None:
    """Removes the buttons for these commands from every card of the chat."""
    for put in button_rows.carriers(posts.tx, chat, commands):
        posted = card_rows.by_put(posts.tx, put)
        if posted is not None and posted.card_json:
            _keep(posts, posted, lambda action: action.command not in commands)


def ended(posts: Posts, task: Task) -> None:
    """The task has ended: removes the buttons that only work on an open task."""
    withdraw(posts, task.origin, *_while_open(task), _retry(task))


def without_dead_buttons(tx: Tx, task: Task, card: Card) -> Card:
    """The card without those buttons of this task that would do nothing now."""
    offered = {action.command for action in card.actions}
    gone: set[str] = set()
    if task.state in ENDS:
        gone.update(_while_open(task))
    elif _stop(task) in offered and tasks.stop_requested(tx, task.id):
        gone.add(_stop(task))
    if _retry(task) in offered and tasks.retried_as(tx, task.id) is not None:
        gone.add(_retry(task))
    return _without(card, gone)


def change(posts: Posts, key: str, card: Card, *, soon: bool = True) -> None:
    """Changes the card of this key in every chat that has it; ``soon`` when it answers somebody's press."""
    for posted in card_rows.by_key(posts.tx, key):
        posts.repost(posted.chat, card, key=key, soon=soon)


def supersede(posts: Posts, key: str, chat: ChatRef) -> None:
    """Disables the once-only buttons of the cards of this key in a chat, because a new message gets the key."""
    for posted in card_rows.by_key(posts.tx, key):
        if (posted.chat.adapter, posted.chat.chat) != (chat.adapter, chat.chat):
            continue
        button_rows.expire(posts.tx, posted.chat, posted.put)
        if not posted.card_json:
            continue
        aside = card_rows.set_aside(posts.tx, posted)
        card = Card.from_json(posted.card_json)
        rest = tuple(action for action in card.actions if not action.once)
        lines = (*card.lines, line("Asked again: use the buttons on the newest card."))
        posts.repost(posted.chat, replace(card, lines=lines, actions=rest, tone=Tone.PLAIN), key=aside)


def _keep(posts: Posts, posted: LiveCard, wanted: Callable[[Action], bool], *, soon: bool = False) -> None:
    card = Card.from_json(posted.card_json)
    kept = tuple(action for action in card.actions if wanted(action))
    if kept != card.actions:
        posts.repost(posted.chat, card.with_actions(kept), key=posted.key, soon=soon)


def _without(card: Card, commands: Collection[str]) -> Card:
    return card.with_actions(action for action in card.actions if action.command not in commands)


def _stop(task: Task) -> str:
    return f"/stop {task.id}"


def _retry(task: Task) -> str:
    return f"/retry {task.id}"


def _while_open(task: Task) -> tuple[str, ...]:
    return (_stop(task), asks.go_on(task))
