"""Ends a message: its effect, its answer and the end of its inbox rows, in one commit.

The result is kept with its row, so a client that sends the same message again gets the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from bot.outbox.posting import Outbox, Posts
from bot.registry import Call, Context, Effect, Registry, Result
from bot.telling import sounds
from fleet.config import FleetConfig
from fleet.errors import Misused, Refused
from fleet.failpoints import failpoint
from fleet.model import ChatRef, PersonId
from fleet.store.chat import inbox
from fleet.store.core import Tx
from gates.people import Person, who

UNREADABLE: Final = "it cannot be read"
ONLY_READABLE: Final = "Only text, pictures and files can be read here."

Rows = Sequence[inbox.Received]


@dataclass(frozen=True, slots=True)
class Handled:
    """The rows of one act, and its messages if they were a command. ``words``: they have words for an agent;
    ``prompt``: these are a new task's prompt."""

    rows: Rows
    parts: Sequence[Message]
    given: Given
    words: bool = False
    prompt: bool = False

    @classmethod
    def of(
        cls, rows: Rows, parts: Sequence[Message], call: Call | None, given: Given, registry: Registry
    ) -> Handled:
        """Of the messages that came to this call."""
        command = registry.get(call.verb) if call is not None else None
        if command is None:
            return cls(rows, (), given)
        return cls(rows, parts, given, words=command.takes_words, prompt=command.verb in edits.REPLACE)


@dataclass(frozen=True, slots=True)
class Explained:
    """The rows of one act that ended with an error, and the card that says so. ``bug``: the internal error; empty
    for other errors. ``also``: what happens besides."""

    rows: Rows
    chat: ChatRef
    card: Card
    given: Given
    error: Exception
    status: int
    bug: str
    also: Effect | None


def carried_out(tx: Tx, outbox: Outbox, handled: Handled, effect: Effect, result: Result) -> Result:
    """Applies the effect; returns ``result`` with what the effect set and posted."""
    rows, parts = handled.rows, handled.parts
    posts = outbox.open(tx)
    effect(posts)
    if parts and (left_out := as_one(parts).ignored):
        posts.post(parts[0].chat, Card(line("Left out: ", ", ".join(left_out)), (line(ONLY_READABLE),)))
    final = replace(
        result,
        task=posts.task or result.task,
        status=posts.status or result.status,
        data=plain.without_secrets(posts.data or result.data, tx.store.redact),
        posted=posts.numbers,
    )
    if handled.words and final.task:
        sent.remember(tx, parts, final.task, prompt=handled.prompt)
    handled.given.note(tx, task=final.task)
    for row in rows:
        inbox.done(tx, row.id, final.to_json())
    _answered(tx, outbox, rows, posts.numbers)
    tx.after_commit(partial(failpoint, "update-handled"))
    posts.leave_at_once()
    return final


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
    return lambda posts: _post(posts, message, card)


def _post(posts: Posts, message: Message, card: Card) -> None:
    posts.post(message.chat, card)


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


def explained(tx: Tx, outbox: Outbox, ended: Explained) -> Result:
    """An error, which is shown to the sender."""
    posts = outbox.open(tx)
    posts.post(ended.chat, ended.card)
    ended.given.note(tx, error=ended.error)
    if isinstance(ended.error, Misused | Refused) and ended.also is None and len(ended.rows) == 1:
        sent.came_to_nothing(tx, ended.given.message)
    _answered(tx, outbox, ended.rows, posts.numbers)
    result = Result(status=ended.status, posted=list(posts.numbers))
    if ended.also is not None:
        ended.also(posts)
    for row in ended.rows:
        if ended.bug:
            inbox.failed(tx, row.id, ended.bug, result.to_json())
        else:
            inbox.done(tx, row.id, result.to_json())
    return result


def _answered(tx: Tx, outbox: Outbox, rows: Rows, numbers: Sequence[int]) -> None:
    for row in rows:
        tx.after_commit(partial(outbox.answered, row.adapter, row.update_id, numbers))
