"""Messages that somebody should have heard of, and that a chat refused for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, func, select

from fleet.model import ChatRef
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.states import OutboxState
from fleet.store.tables import outbox

_MOST_REFUSED: Final = 50
_REFUSED = Statement(
    select(outbox)
    .where(outbox.c.adapter == bindparam("a"), outbox.c.state == OutboxState.GAVE_UP, outbox.c.ping)
    .order_by(outbox.c.id.desc())
    .limit(_MOST_REFUSED)
)
_ARRIVED = Statement(
    select(outbox.c.id)
    .where(outbox.c.adapter == bindparam("a"), outbox.c.chat == bindparam("c"), outbox.c.id > bindparam("after"))
    # An expression, so that SQLite searches the rows of the chat instead of all that was delivered since.
    .where(func.coalesce(outbox.c.state, "") == OutboxState.DELIVERED)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Unheard:
    """A message that can never arrive, and should have made a sound."""

    id: int
    chat: ChatRef
    card_json: str
    why: str


def unheard(tx: Tx, adapter: str) -> list[Unheard]:
    """The newest message with a sound that each chat refused for good, unless a later one arrived there."""
    found: dict[str, Unheard] = {}
    for row in _REFUSED.all(tx.connection, {"a": adapter}):
        if row.chat not in found and row.card_json:
            found[row.chat] = Unheard(row.id, ChatRef(row.adapter, row.chat), row.card_json, row.why)
    return [
        each
        for each in found.values()
        if _ARRIVED.one(tx.connection, {"a": adapter, "c": each.chat.chat, "after": each.id}) is None
    ]
