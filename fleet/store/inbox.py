"""What chats sent us: committed before it is acknowledged, settled in the transaction of its effect, once."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update

from fleet.store.core import Tx
from fleet.store.tables import inbox

_SEEN = select(inbox.c.id).where(inbox.c.adapter == bindparam("a"), inbox.c.update_id == bindparam("u"))
_INSERT = insert(inbox).returning(inbox.c.id)
_SETTLE = update(inbox).where(inbox.c.id == bindparam("row"), inbox.c.state == "pending")


@dataclass(frozen=True, slots=True)
class Received:
    """An update that waits for its handler. ``update_id`` is the platform's own key of it."""

    id: int
    adapter: str
    update_id: str
    payload: bytes


def receive(tx: Tx, adapter: str, update_id: str, payload: bytes) -> int | None:
    """Keeps an update and answers its number; ``None`` when it was received before."""
    if tx.connection.execute(_SEEN, {"a": adapter, "u": update_id}).one_or_none() is not None:
        return None
    row = {
        "adapter": adapter,
        "update_id": update_id,
        "payload": payload,
        "state": "pending",
        "why": "",
        "received_us": tx.now_us(),
        "settled_us": 0,
    }
    return int(tx.connection.execute(_INSERT, row).scalar_one())


def pending(tx: Tx) -> list[Received]:
    """The updates whose effect is not committed, in the order they came."""
    query = select(inbox).where(inbox.c.state == "pending").order_by(inbox.c.id)
    return [
        Received(row.id, row.adapter, row.update_id, bytes(row.payload)) for row in tx.connection.execute(query)
    ]


def done(tx: Tx, number: int) -> None:
    """Call in the transaction of the effect. Raises ``ValueError`` when it was settled before, as all three do."""
    _settle(tx, number, "done", "")


def ignored(tx: Tx, number: int, why: str) -> None:
    """Nothing was to be done about it, because of ``why``."""
    _settle(tx, number, "ignored", why)


def failed(tx: Tx, number: int, why: str) -> None:
    """Its handler broke; it is not tried again."""
    _settle(tx, number, "failed", why)


def _settle(tx: Tx, number: int, state: str, why: str) -> None:
    values = {"row": number, "state": state, "why": why, "settled_us": tx.now_us()}
    if tx.connection.execute(_SETTLE, values).rowcount != 1:
        raise ValueError(f"update {number} of the inbox is not pending")
