"""Updates from chats: committed before they are acknowledged, settled in the transaction of their effect, once."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update

from fleet.store.core import Tx
from fleet.store.statements import ColumnChange, Statement
from fleet.store.states import InboxState
from fleet.store.tables import inbox

_KEPT = [column for column in inbox.c if column is not inbox.c.id]
_SEEN = select(inbox.c.id).where(
    inbox.c.adapter == bindparam("adapter"), inbox.c.update_id == bindparam("update_id")
)
_NEW = select(*(bindparam(column.name, type_=column.type) for column in _KEPT)).where(~_SEEN.exists())
# One statement, since every message takes this path; no other writer can come between the check and the insert.
_INSERT = Statement(insert(inbox).from_select(_KEPT, _NEW).returning(inbox.c.id))
_IS_PENDING = (inbox.c.id == bindparam("row"), inbox.c.state == InboxState.PENDING)
_SETTLE = ColumnChange(update(inbox).where(*_IS_PENDING))

_KNOWN = select(inbox.c.id, inbox.c.state, inbox.c.outcome).where(
    inbox.c.adapter == bindparam("adapter"), inbox.c.update_id == bindparam("update_id")
)


@dataclass(frozen=True, slots=True)
class Received:
    """An update that waits for its handler. ``update_id`` is the platform's own key."""

    id: int
    adapter: str
    update_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """An update that was received before. ``outcome`` is the part of the answer that its handler stored."""

    id: int
    pending: bool
    outcome: str


def receive(tx: Tx, adapter: str, update_id: str, payload: bytes) -> int | None:
    """Stores an update and returns its number; ``None`` when it was received before."""
    row = {
        "adapter": adapter,
        "update_id": update_id,
        "payload": payload,
        "state": InboxState.PENDING,
        "why": "",
        "received_us": tx.now_us(),
        "settled_us": 0,
        "outcome": "",
    }
    found = _INSERT.one(tx.connection, row)
    return None if found is None else int(found.id)


def pending(tx: Tx) -> list[Received]:
    """The updates whose effect is not committed, in order of arrival."""
    query = select(inbox).where(inbox.c.state == InboxState.PENDING).order_by(inbox.c.id)
    return [
        Received(row.id, row.adapter, row.update_id, bytes(row.payload)) for row in tx.connection.execute(query)
    ]


def known(tx: Tx, adapter: str, update_id: str) -> Known | None:
    """The update with this key, if it was received before."""
    row = tx.connection.execute(_KNOWN, {"adapter": adapter, "update_id": update_id}).one_or_none()
    return None if row is None else Known(row.id, row.state is InboxState.PENDING, row.outcome)


def done(tx: Tx, number: int, outcome: str = "") -> None:
    """Call it in the transaction of the effect. ``outcome`` is kept for repeats of the same update.

    Raises ``ValueError`` when already settled, as all three do.
    """
    _settle(tx, number, InboxState.DONE, "", outcome)


def ignored(tx: Tx, number: int, why: str, outcome: str = "") -> None:
    """The update needs no action, because of ``why``. Its words may be for others: they are forgotten at once, and
    only its key is kept."""
    _settle(tx, number, InboxState.IGNORED, why, outcome, forget=True)


def failed(tx: Tx, number: int, why: str, outcome: str = "") -> None:
    """The update's handler failed; it is not retried."""
    _settle(tx, number, InboxState.FAILED, why, outcome)


def _settle(tx: Tx, number: int, state: InboxState, why: str, outcome: str, *, forget: bool = False) -> None:
    values = {"row": number, "state": state, "why": why, "settled_us": tx.now_us(), "outcome": outcome}
    if _SETTLE.run(tx.connection, {**values, "payload": b""} if forget else values) != 1:
        raise ValueError(f"update {number} of the inbox is not pending")
