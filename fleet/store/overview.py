"""The fleet at a glance: counts over everything, and only as many rows as a screen shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from fleet.model import Session, Task, TaskState
from fleet.store import approvals as asks
from fleet.store import sessions as rooms
from fleet.store import tasks as asked
from fleet.store.core import Tx
from fleet.store.states import OutboxKind
from fleet.store.tables import approvals, cards, outbox, sessions, tasks


@dataclass(frozen=True, slots=True)
class Overview:
    """``sessions`` and ``tasks`` (theirs, by id) are the oldest that fit the limit; so are ``waiting`` and
    ``queued`` (ids). The counts cover everything. ``busy`` is held slots by machine, ``active`` the sessions whose
    process was recently seen alive."""

    now_us: int
    sessions: tuple[Session, ...]
    tasks: Mapping[str, Task]
    busy: Mapping[str, int]
    active: int
    waiting: tuple[asks.Approval, ...]
    waiting_count: int
    queued: tuple[str, ...]
    queued_count: int


def overview(tx: Tx, limit: int, alive_us: int, skip: int = 0) -> Overview:
    """Reads the overview. ``alive_us``: the largest age of a sign of life; ``skip``: how many of the oldest
    sessions to leave out."""
    connection, now = tx.connection, tx.now_us()
    open_ = sessions.c.ended_us == 0
    # With equal times, t2.1 comes before t10.1
    by_age = (sessions.c.started_us, func.length(sessions.c.id), sessions.c.id)
    oldest = select(sessions.c.id).where(open_).order_by(*by_age)
    shown = rooms.of_ids(tx, connection.execute(oldest.limit(limit).offset(skip)).scalars().all())
    active = select(func.count()).select_from(sessions).where(open_, sessions.c.seen_us >= max(1, now - alive_us))
    queued = tasks.c.state == str(TaskState.QUEUED)
    first = select(tasks.c.id).where(queued).order_by(tasks.c.number).limit(limit)
    answerable = (approvals.c.decision == "") & ((approvals.c.expires_us == 0) | (approvals.c.expires_us > now))
    waiting = select(approvals.c.id).where(answerable).order_by(approvals.c.number).limit(limit)
    return Overview(
        now_us=now,
        sessions=shown,
        tasks=asked.of_ids(tx, {session.task for session in shown}),
        busy=rooms.busy(tx),
        active=int(connection.execute(active).scalar_one()),
        waiting=tuple(asks.approval(tx, approval) for approval in connection.execute(waiting).scalars().all()),
        waiting_count=int(
            connection.execute(select(func.count()).select_from(approvals).where(answerable)).scalar_one()
        ),
        queued=tuple(connection.execute(first).scalars()),
        queued_count=int(connection.execute(select(func.count()).select_from(tasks).where(queued)).scalar_one()),
    )


@dataclass(frozen=True, slots=True)
class Newest:
    """A card that is the newest message of its chat and thread; ``put`` is the outbox row that posted it."""

    adapter: str
    chat: str
    thread: str
    put: int


def newest_cards(tx: Tx, card_key: str, since_us: int) -> list[Newest]:
    """Where a card with this key, posted since then and delivered, is still the newest message."""
    query = (
        select(cards.c.adapter, cards.c.chat, cards.c.thread, cards.c.put)
        .join(outbox, outbox.c.id == cards.c.put)
        .where(cards.c.card_key == card_key, cards.c.message_id != "", outbox.c.created_us >= since_us)
    )
    living = [Newest(*row) for row in tx.connection.execute(query)]
    return [card for card in living if not _has_newer(tx, card)]


def _has_newer(tx: Tx, card: Newest) -> bool:
    """Whether a newer message is there. Reads only rows after the card's own, however long the chat is."""
    adapter = func.coalesce(outbox.c.adapter, "")  # keeps SQLite from using an index that walks the whole chat
    newer = select(outbox.c.id).where(
        outbox.c.id > card.put,
        adapter == card.adapter,
        outbox.c.chat == card.chat,
        outbox.c.thread == card.thread,
        outbox.c.kind == OutboxKind.PUT,
    )
    return tx.connection.execute(newer.limit(1)).one_or_none() is not None
