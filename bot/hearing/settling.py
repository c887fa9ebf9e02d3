"""Ends a message: its effect, its answer and the end of its inbox rows, in one commit.

The result is kept with its row, so a client that sends the same message again gets the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from bot import plain
from bot.cards import Card, line
from bot.explain import Explanation, explain
from bot.hearing import edits, sent
from bot.hearing.acts import as_one
from bot.hearing.given import Given
from bot.hearing.meaning import unknown
from bot.message import Message
from bot.outbox.posting import Posts
from bot.registry import Command, Context, Effect, RefusedForNow, Result
from bot.telling import sounds
from fleet.config import FleetConfig
from fleet.errors import AirbossError, Misused, Refused
from fleet.failpoints import failpoint
from fleet.model import ChatRef, PersonId
from fleet.store.chat import inbox
from fleet.store.core import Tx
from gates.people import Person, who

UNREADABLE: Final = "it cannot be read"
ONLY_READABLE: Final = "Only text, pictures and files can be read here."

Rows = Sequence[inbox.Received]


def carried_out(
    posts: Posts, effect: Effect, *, rows: Rows, parts: Sequence[Message], given: Given, command: Command | None
) -> Result:
    """Applies the effect of an act's messages. ``command``: what they came to, if it was one."""
    tx = posts.tx
    effect(posts)
    if command and (left_out := as_one(parts).ignored):
        posts.post(parts[0].chat, Card(line("Left out: ", ", ".join(left_out)), (line(ONLY_READABLE),)))
    result = Result(
        posts.status, posts.task, plain.without_secrets(posts.data, tx.store.redact), posted=posts.numbers
    )
    if command and command.takes_words and result.task:
        sent.remember(tx, parts, result.task, prompt=command.verb in edits.REPLACE)
    given.note(tx, task=result.task)
    for row in rows:
        inbox.done(tx, row.id, result.to_json())
    _answered(posts, rows)
    tx.after_commit(partial(failpoint, "update-handled"))
    posts.leave_at_once()
    return result


def sender_of(config: FleetConfig, message: Message) -> Person | None:
    """Who wrote it; ``None``: nobody whom fleet.toml names, or the platform hides who."""
    return None if message.nameless else who(config, message.sender)


def to_stranger(message: Message, may: Callable[[PersonId], bool]) -> Effect | str:
    """A stranger who means us gets a card with their id, at a limited rate."""
    if not message.direct:
        return "a message from a stranger to others"
    return posting(message, unknown(message)) if may(message.sender) else "a stranger, too often"


def posting(message: Message, card: Card) -> Effect:
    """A card where the message was sent, and nothing else."""

    def effect(posts: Posts) -> None:
        posts.post(message.chat, card)

    return effect


def ignored(tx: Tx, rows: Rows, why: str) -> Result:
    """The message needs no action."""
    return _settled(tx, rows, Result(), why)


def too_often(tx: Tx, rows: Rows) -> Result:
    """The sender was told to wait, and keeps sending."""
    return _settled(tx, rows, Result(status=Refused.status), "too often")


def _settled(tx: Tx, rows: Rows, result: Result, why: str) -> Result:
    for row in rows:
        inbox.ignored(tx, row.id, why, result.to_json())
    return result


def unreadable(tx: Tx, rows: Rows) -> Result:
    """What was received cannot be read as a message."""
    result = Result(status=Misused.status)
    for row in rows:
        inbox.failed(tx, row.id, UNREADABLE, result.to_json())
    return result


def spelled_out(error: Exception, context: Context, adapter: str) -> Explanation:
    """An error for the people of a chat: its commands as they are typed there, ids as names."""
    explanation, spelled = explain(error), partial(context.registry.spelled, adapter)
    return explanation._replace(
        headline=spelled(explanation.headline),
        detail=sounds.named(context.config(), explanation.detail),
        remedy=spelled(explanation.remedy),
    )


def explained(
    posts: Posts, *, rows: Rows, chat: ChatRef, given: Given, said: Explanation, error: Exception
) -> Result:
    """An act ended with an error, which is shown to the sender."""
    tx, also = posts.tx, error.also if isinstance(error, RefusedForNow) else None
    posts.post(chat, said.card())
    given.note(tx, error=error)
    if isinstance(error, Misused | Refused) and also is None and len(rows) == 1:
        sent.came_to_nothing(tx, given.message)
    _answered(posts, rows)
    result = Result(status=said.status, posted=list(posts.numbers))
    if also is not None:
        also(posts)
    for row in rows:
        if isinstance(error, AirbossError):
            inbox.done(tx, row.id, result.to_json())
        else:
            inbox.failed(tx, row.id, repr(error)[:500], result.to_json())
    return result


def _answered(posts: Posts, rows: Rows) -> None:
    for row in rows:
        posts.answers(row.adapter, row.update_id)
