"""Messages to chats: committed with what they report, then delivered until they arrive.

A ``put`` is a new message, an ``edit`` changes the message of its card. In each chat and thread, puts are sent one
by one in order. Of a card's edits only the newest waits, and only once the card has a message.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, Text, and_, bindparam, delete, func, insert, literal_column, or_, select, update

from fleet.model import ChatRef
from fleet.store.core import Tx
from fleet.store.records import chat_of, columns, reader
from fleet.store.statements import ColumnChange, Statement
from fleet.store.states import OutboxKind, OutboxState
from fleet.store.tables import cards, outbox

_UNSETTLED: Final = tuple(
    literal_column(f"'{state}'", Text()) for state in (OutboxState.WAITING, OutboxState.IN_FLIGHT)
)
_LONGEST_US: Final = 7_200_000_000
"""Nothing waits for so long: the clock was ahead when this row's time was reckoned, so it is due."""

_SOON_PRIORITY = 1  # an edit that answers a button press goes with the replies
_EDIT_PRIORITY = 100  # after every put: edits do not notify, so nobody waits for them
_INSERT = Statement(insert(outbox).returning(outbox.c.id))
_CHANGE = update(outbox).where(outbox.c.id == bindparam("row"))
_SHOW, _CLAIMED, _SETTLE = Statement(_CHANGE), Statement(_CHANGE), Statement(_CHANGE)
_AT = and_(*(cards.c[name] == bindparam(f"at_{name}") for name in ("card_key", "adapter", "chat", "thread")))
_LIVES_AT = Statement(select(cards.c.put).where(_AT))
_NEW_CARD = Statement(insert(cards))
_WAITS = and_(
    outbox.c.put == bindparam("changed"), outbox.c.kind == OutboxKind.EDIT, outbox.c.state == OutboxState.WAITING
)
_DROP_EDITS = Statement(delete(outbox).where(_WAITS))
_MOVE_CARD = Statement(update(cards).where(_AT))
_PLACES = select(cards, outbox.c.state, outbox.c.task).join(outbox, outbox.c.id == cards.c.put)
_PLACES_OF = Statement(_PLACES.where(cards.c.card_key == bindparam("at_card_key")))
_PLACE_AT = Statement(_PLACES.where(_AT))
_REPLACE_EDIT = ColumnChange(update(outbox).where(_WAITS))
_THREAD = Statement(
    select(cards.c.thread, cards.c.message_id)
    .where(*(cards.c[name] == bindparam(f"at_{name}") for name in ("card_key", "adapter", "chat")))
    .order_by(cards.c.put.desc())
    .limit(1)
)
_BACKLOG = Statement(
    select(func.count().label("rows"))
    .select_from(outbox)
    .where(*(outbox.c[name] == bindparam(f"at_{name}") for name in ("adapter", "chat", "thread")))
    .where(outbox.c.state.in_(_UNSETTLED))
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed row. ``message_id`` is the message it edits, empty for a new one.

    ``again``: an earlier controller died while sending it, so it may have arrived already. ``attempts`` counts the
    failed tries before this one. ``soon``: an edit that somebody waits for.
    """

    id: int
    chat: ChatRef
    card_key: str
    card_json: str
    message_id: str
    ping: bool
    again: bool
    attempts: int
    task: str
    soon: bool


_delivery = reader(
    Delivery,
    chat=chat_of,
    message_id=lambda row: row.edits or "",
    soon=lambda row: row.kind is OutboxKind.EDIT and row.priority == _SOON_PRIORITY,
)


@dataclass(frozen=True, slots=True)
class PostedCard:
    """A message that was put."""

    id: int
    card_json: str
    task: str


def put(
    tx: Tx, *, chat: ChatRef, card_json: str, card_key: str = "", ping: bool = False, priority: int, task: str = ""
) -> int:
    """Queues a new message for a chat; lower ``priority`` goes first between chats. Returns the row's number.

    With a ``card_key``, later edits of that key in this chat change this message and not an older one.
    """
    number = _insert(
        tx, OutboxKind.PUT, chat, card_key=card_key, card_json=card_json, ping=ping, priority=priority, task=task
    )
    if card_key:
        place = _place(card_key, chat)
        at = {f"at_{name}": value for name, value in place.items()}
        old = _LIVES_AT.one(tx.connection, at)
        if old is None:
            _NEW_CARD.run(tx.connection, {**place, "put": number, "message_id": ""})
        else:
            _drop_edits(tx, old.put)
            _MOVE_CARD.run(tx.connection, {**at, "put": number, "message_id": ""})
    return number


def edit(tx: Tx, card_key: str, card_json: str, *, chat: ChatRef | None = None, soon: bool = False) -> int:
    """Changes a card in all chats, or in ``chat`` only; returns in how many places, 0 when it is nowhere.

    A card that is not sent yet is sent in its new form, and a waiting edit is replaced. ``soon``: it answers what
    somebody just did, and goes before edits that nobody waits for.
    """
    if chat is None:
        places = _PLACES_OF.all(tx.connection, {"at_card_key": card_key})
    else:
        at = {f"at_{name}": value for name, value in _place(card_key, chat).items()}
        places = _PLACE_AT.all(tx.connection, at)
    for row in places:
        if row.state is OutboxState.WAITING:
            _drop_edits(tx, row.put)  # left from a delivery that failed
            redraw(tx, row.put, card_json)
            continue
        change = {"changed": row.put, "card_json": card_json, **({"priority": _SOON_PRIORITY} if soon else {})}
        if not _REPLACE_EDIT.run(tx.connection, change):
            _insert(
                tx,
                OutboxKind.EDIT,
                chat_of(row),
                card_key=card_key,
                card_json=card_json,
                target=row.put,
                priority=_SOON_PRIORITY if soon else _EDIT_PRIORITY,
                task=row.task,
            )
    return len(places)


def redraw(tx: Tx, number: int, card_json: str) -> None:
    """Replaces the content of a row that this transaction put; buttons name the row, so they are made after it."""
    _SHOW.run(tx.connection, {"row": number, "card_json": card_json})


def claim(tx: Tx, adapter: str, limit: int) -> list[Delivery]:
    """Takes up to ``limit`` rows that may be delivered now, most urgent first; each must be settled later."""
    now = tx.now_us()
    rows = _CLAIM.all(tx.connection, {"a": adapter, "now": now, "latest": now + _LONGEST_US, "most": limit})
    _CLAIMED.many(tx.connection, [{"row": row.id, "state": OutboxState.IN_FLIGHT} for row in rows])
    return [_delivery(row) for row in rows]


def delivered(tx: Tx, number: int, message_id: str) -> None:
    """It arrived as the platform's ``message_id``; an edit's id differs when its message was gone and it was sent
    anew.

    Raises ``ValueError`` unless it was claimed, as :func:`retry` and :func:`gave_up` do.
    """
    row = _in_flight(tx, number)
    _settle(tx, number, OutboxState.DELIVERED, message_id=message_id)
    lives = number if row["kind"] is OutboxKind.PUT else row["put"]
    _LIVES.run(tx.connection, {"row": lives, "message_id": message_id})


def retry(tx: Tx, number: int, not_before_us: int, why: str, *, again: bool = False) -> None:
    """It did not arrive; it waits until ``not_before_us``. An edit with a newer one is dropped. ``again``: a new
    message may have arrived all the same."""
    row = _in_flight(tx, number)
    if row["kind"] is OutboxKind.EDIT and _outdated(tx, row):
        tx.connection.execute(delete(outbox).where(outbox.c.id == number))
        return
    attempts = row["attempts"] + 1
    values = {
        "row": number,
        "state": OutboxState.WAITING,
        "attempts": attempts,
        "not_before_us": not_before_us,
        "why": why,
        "again": row["again"] or (again and row["kind"] is OutboxKind.PUT),
    }
    tx.connection.execute(_CHANGE, values)


def gave_up(tx: Tx, number: int, why: str) -> None:
    """It can never arrive. A card that was never posted cannot be edited either."""
    row = _in_flight(tx, number)
    _settle(tx, number, OutboxState.GAVE_UP, why=why)
    if row["kind"] is OutboxKind.PUT:
        _drop_edits(tx, number)
        tx.connection.execute(delete(cards).where(cards.c.put == number))


def is_in_flight(tx: Tx, number: int) -> bool:
    """Whether this row is claimed and not settled."""
    row = _ROW.one(tx.connection, {"row": number})
    return row is not None and row.state is OutboxState.IN_FLIGHT


def in_flight(tx: Tx, adapter: str) -> list[int]:
    """The rows that are claimed and not settled."""
    query = select(outbox.c.id).where(outbox.c.adapter == adapter, outbox.c.state == OutboxState.IN_FLIGHT)
    return list(tx.connection.execute(query).scalars())


def requeue(tx: Tx, adapter: str, numbers: Collection[int] | None = None) -> int:
    """Returns claimed rows that nobody is sending to the queue, marked ``again``: all, or only these rows.

    Returns how many; the next :func:`claim` includes them.
    """
    query = (
        select(outbox)
        .where(outbox.c.adapter == adapter, outbox.c.state == OutboxState.IN_FLIGHT)
        .order_by(outbox.c.id)
    )
    if numbers is not None:
        query = query.where(outbox.c.id.in_(numbers))
    rows = [dict(row) for row in tx.connection.execute(query).mappings()]
    for row in rows:
        if row["kind"] is OutboxKind.EDIT and _outdated(tx, row):
            tx.connection.execute(delete(outbox).where(outbox.c.id == row["id"]))
        else:
            tx.connection.execute(_CHANGE, {"row": row["id"], "state": OutboxState.WAITING, "again": True})
    return len(rows)


def said(tx: Tx, chat: ChatRef, numbers: Collection[int], task: str) -> list[PostedCard]:
    """The messages of these rows that were delivered and are still kept; with ``task``, also what was said of it in
    this chat after them. Oldest first."""
    here = select(outbox.c.id, outbox.c.card_json, outbox.c.task).order_by(outbox.c.id)
    found = list(tx.connection.execute(here.where(outbox.c.id.in_(numbers))))
    if task and numbers:
        place = and_(outbox.c.adapter == chat.adapter, outbox.c.chat == chat.chat, outbox.c.task == task)
        later = here.where(
            outbox.c.id > max(numbers),
            place,
            outbox.c.kind == OutboxKind.PUT,
            outbox.c.state == OutboxState.DELIVERED,
        )
        found += tx.connection.execute(later)
    return [PostedCard(row.id, row.card_json, row.task) for row in found if row.card_json]


def thread_of(tx: Tx, card_key: str, adapter: str, chat: str) -> str:
    """The thread of a card in this chat: the one it is in, or else its own message.

    Empty until it is delivered, or when it is not here.
    """
    found = _THREAD.one(tx.connection, {"at_card_key": card_key, "at_adapter": adapter, "at_chat": chat})
    return "" if found is None else str(found.thread or found.message_id)


def backlog(tx: Tx, chat: ChatRef) -> int:
    """How many rows for this chat and thread are neither delivered nor given up."""
    at = {"at_adapter": chat.adapter, "at_chat": chat.chat, "at_thread": chat.thread}
    return int(_BACKLOG.one(tx.connection, at).rows)


def next_due_us(tx: Tx, adapter: str) -> int | None:
    """In how many microseconds :func:`claim` will return something; ``None``: only new rows can change that."""
    first = _DUE.one(tx.connection, {"a": adapter}).first
    left = 0 if first is None else first - tx.now_us()
    return None if first is None else max(0, left) if left <= _LONGEST_US else 0


def _ready() -> Select[Any]:
    """Rows of ``:a`` that may be sent, now or later: each chat's first put, and edits of posted cards, one at a
    time."""
    mine = outbox.alias("mine")
    heads = (
        select(func.min(mine.c.id))
        .where(mine.c.adapter == bindparam("a"), mine.c.kind == OutboxKind.PUT, mine.c.state.in_(_UNSETTLED))
        # An expression, so that SQLite searches for unsettled rows instead of walking all rows chat by chat.
        .group_by(func.coalesce(mine.c.chat, ""), mine.c.thread)
    )
    other = outbox.alias("other")
    editing = select(other.c.id).where(
        other.c.put == outbox.c.put, other.c.kind == OutboxKind.EDIT, other.c.state == OutboxState.IN_FLIGHT
    )
    return (
        select(outbox, cards.c.message_id.label("edits"))
        .select_from(outbox.outerjoin(cards, and_(outbox.c.kind == OutboxKind.EDIT, cards.c.put == outbox.c.put)))
        .where(outbox.c.adapter == bindparam("a"), outbox.c.state == OutboxState.WAITING)
        .where(
            or_(
                and_(outbox.c.kind == OutboxKind.PUT, outbox.c.id.in_(heads)),
                and_(outbox.c.kind == OutboxKind.EDIT, cards.c.message_id != "", ~editing.exists()),
            )
        )
    )


# Built once: building and hashing such a statement takes longer than running it.
_CLAIM = Statement(
    _ready()
    .where(or_(outbox.c.not_before_us <= bindparam("now"), outbox.c.not_before_us > bindparam("latest")))
    .order_by(outbox.c.priority, outbox.c.id)
    .limit(bindparam("most"))
)
_DUE = Statement(
    _ready().with_only_columns(func.min(outbox.c.not_before_us).label("first"), maintain_column_froms=True)
)
_LIVES = Statement(update(cards).where(cards.c.put == bindparam("row")))
_ROW = Statement(select(outbox).where(outbox.c.id == bindparam("row")))


def _insert(
    tx: Tx,
    kind: OutboxKind,
    chat: ChatRef,
    *,
    card_key: str,
    card_json: str,
    target: int = 0,
    ping: bool = False,
    priority: int,
    task: str,
) -> int:
    row = {
        "kind": kind,
        **columns(chat),
        "card_key": card_key,
        "put": target,
        "card_json": card_json,
        "ping": ping,
        "priority": priority,
        "task": task,
        "state": OutboxState.WAITING,
        "again": False,
        "attempts": 0,
        "not_before_us": 0,
        "message_id": "",
        "why": "",
        "created_us": tx.now_us(),
        "settled_us": 0,
    }
    return int(_INSERT.one(tx.connection, row).id)


def _place(card_key: str, chat: ChatRef) -> dict[str, str]:
    return {"card_key": card_key, **columns(chat)}


def _in_flight(tx: Tx, number: int) -> Mapping[str, Any]:
    row = _ROW.one(tx.connection, {"row": number})
    if row is None or row.state is not OutboxState.IN_FLIGHT:
        raise ValueError(f"row {number} of the outbox is not in flight")
    return dict(row._asdict())


def _settle(tx: Tx, number: int, state: OutboxState, *, message_id: str = "", why: str = "") -> None:
    values = {"row": number, "state": state, "message_id": message_id, "why": why, "settled_us": tx.now_us()}
    _SETTLE.run(tx.connection, values)


def _outdated(tx: Tx, row: Mapping[str, Any]) -> bool:
    newer = select(outbox.c.id).where(
        outbox.c.put == row["put"], outbox.c.kind == OutboxKind.EDIT, outbox.c.state == OutboxState.WAITING
    )
    lives = select(cards.c.put).where(cards.c.put == row["put"])
    return (
        tx.connection.execute(newer.limit(1)).one_or_none() is not None
        or tx.connection.execute(lives).one_or_none() is None
    )


def _drop_edits(tx: Tx, number: int) -> None:
    _DROP_EDITS.run(tx.connection, {"changed": number})
