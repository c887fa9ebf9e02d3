"""The end of a message: its effect, its answer and the end of its inbox rows, in one commit.

Each end is kept with its row, so that a client that sends the same message again gets the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bot.cards import Card
from bot.outbox.posting import Outbox
from bot.registry import Effect, Result
from fleet.errors import Misused, Refused
from fleet.model import ChatRef
from fleet.store.chat import inbox
from fleet.store.core import Tx

UNREADABLE: Final = "it cannot be read"

Rows = Sequence[inbox.Received]


def carried_out(tx: Tx, outbox: Outbox, rows: Rows, effect: Effect, result: Result) -> Result:
    """Does what was asked; answers ``result`` with what the effect concluded and posted."""
    posts = outbox.open(tx)
    effect(posts)
    came = replace(
        result,
        task=posts.task or result.task,
        status=posts.status or result.status,
        posted=posts.numbers,
    )
    for row in rows:
        inbox.done(tx, row.id, came.to_json())
    posts.leave_at_once(rows[0].adapter)
    return came


def ignored(tx: Tx, rows: Rows, why: str) -> Result:
    """Nothing was to be done about it."""
    return _settled(tx, rows, Result(), why)


def too_often(tx: Tx, rows: Rows) -> Result:
    """Its sender was told to wait, and goes on."""
    return _settled(tx, rows, Result(status=Refused.status), "too often")


def _settled(tx: Tx, rows: Rows, result: Result, why: str) -> Result:
    for row in rows:
        inbox.ignored(tx, row.id, why, result.to_json())
    return result


def unreadable(tx: Tx, rows: Rows) -> Result:
    """No message can be made of what was received."""
    result = Result(status=Misused.status)
    for row in rows:
        inbox.failed(tx, row.id, UNREADABLE, result.to_json())
    return result


def explained(tx: Tx, outbox: Outbox, rows: Rows, chat: ChatRef, card: Card, *, status: int, bug: str) -> Result:
    """It came to an error, which its sender is told. ``bug``: what was wrong with us; empty for other errors."""
    posts = outbox.open(tx)
    posts.post(chat, card)
    result = Result(status=status, posted=posts.numbers)
    for row in rows:
        if bug:
            inbox.failed(tx, row.id, bug, result.to_json())
        else:
            inbox.done(tx, row.id, result.to_json())
    return result
