"""No button lies: what was pressed, or would do nothing any more, goes from the cards that are in chats already."""

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
from fleet.store.chat.cards import Shown
from fleet.store.core import Tx


def pressed(posts: Posts, button: button_rows.Pressable, by: str) -> None:
    """Takes a once-only button that was just pressed from its card; of a choice all, and the card says which."""
    one = card_rows.by_put(posts.tx, button.put) if button.once else None
    if one is None or not one.card_json:
        return
    card = Card.from_json(one.card_json)
    label = next((action.label for action in card.actions if action.token == button.token), "")
    if not label:
        return  # what it did has changed the card already
    if not card.choice:
        _keep(posts, one, lambda action: action.token != button.token, soon=True)
        return
    button_rows.spend(posts.tx, one.chat, button.put, by)
    rest = tuple(action for action in card.actions if not action.once)
    answered = replace(card, lines=(line(f"✓ {label}"),), actions=rest, tone=Tone.PLAIN, choice=False)
    posts.repost(one.chat, answered, key=one.key, soon=True)


def withdraw(posts: Posts, chat: ChatRef, *commands: str) -> None:
    """Takes the buttons for these commands from every card of the chat."""
    for put in button_rows.carriers(posts.tx, chat, commands):
        one = card_rows.by_put(posts.tx, put)
        if one is not None and one.card_json:
            _keep(posts, one, lambda action: action.command not in commands)


def ended(posts: Posts, task: Task) -> None:
    """The task has ended: what its cards offered meanwhile goes. Its last card offers what there is to do now."""
    withdraw(posts, task.origin, *_while_open(task), _retry(task))


def honest(tx: Tx, task: Task, card: Card) -> Card:
    """The card without those buttons of this task that would do nothing as it stands."""
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
    """Changes the card of this key in every chat where it lives; ``soon`` when somebody's press waits for it."""
    for one in card_rows.by_key(posts.tx, key):
        posts.repost(one.chat, card, key=key, soon=soon)


def supersede(posts: Posts, key: str, chat: ChatRef) -> None:
    """Stops the once-only buttons of the cards of this key in a chat, because a new message gets the key now."""
    for one in card_rows.by_key(posts.tx, key):
        if (one.chat.adapter, one.chat.chat) != (chat.adapter, chat.chat):
            continue
        button_rows.expire(posts.tx, one.chat, one.put)
        if not one.card_json:
            continue
        aside = card_rows.set_aside(posts.tx, one)
        card = Card.from_json(one.card_json)
        rest = tuple(action for action in card.actions if not action.once)
        lines = (*card.lines, line("Asked again: use the buttons on the newest card."))
        posts.repost(one.chat, replace(card, lines=lines, actions=rest, tone=Tone.PLAIN), key=aside)


def _keep(posts: Posts, one: Shown, wanted: Callable[[Action], bool], *, soon: bool = False) -> None:
    card = Card.from_json(one.card_json)
    kept = tuple(action for action in card.actions if wanted(action))
    if kept != card.actions:
        posts.repost(one.chat, card.with_actions(kept), key=one.key, soon=soon)


def _without(card: Card, commands: Collection[str]) -> Card:
    return card.with_actions(action for action in card.actions if action.command not in commands)


def _stop(task: Task) -> str:
    return f"/stop {task.id}"


def _retry(task: Task) -> str:
    return f"/retry {task.id}"


def _while_open(task: Task) -> tuple[str, ...]:
    return (_stop(task), asks.go_on(task))
