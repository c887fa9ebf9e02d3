"""Retention: removes old chat messages; keeps what makes redelivery harmless and finds the task of a reply.

Rows are walked by key, a limited number in each transaction, so that no message waits long. Each step only changes
old, complete rows, so an interrupted walk simply starts again. The ledger is never touched. The databases reuse
the space; a file does not shrink, and nothing depends on that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Column, and_, delete, func, or_, select, update

from fleet.model import ENDS, TaskState
from fleet.store import trees
from fleet.store.chat import sent
from fleet.store.core import Store, Tx
from fleet.store.states import InboxState, OutboxKind, OutboxState
from fleet.store.tables import (
    LOOSE,
    actions,
    approvals,
    attachments,
    cards,
    inbox,
    inputs,
    outbox,
    sessions,
    tasks,
    turns,
)

STRETCH: Final = 500
"""The number of rows that one transaction looks at."""

_Key = TypeVar("_Key", int, str)

# An ended task whose session is not closed may still send something.
_LIVE = (
    select(tasks.c.id)
    .where(tasks.c.state.in_([str(state) for state in TaskState if state not in ENDS]))
    .union(select(sessions.c.task).where(sessions.c.ended_us == 0))
)


async def prune_rows(store: Store, age_us: int, *, stretch: int = STRETCH) -> None:
    """Prunes inbox, outbox and buttons that were settled, used or expired longer than ``age_us`` ago, and the
    messages that can no longer be edited.

    Raises what ``Store.write`` raises; what was already pruned stays pruned.
    """
    await _walk(store, partial(inbox_payloads, age_us=age_us, stretch=stretch), 0)
    await _walk(store, partial(outbox_cards, age_us=age_us, stretch=stretch), 0)
    await _walk(store, partial(dead_buttons, age_us=age_us, stretch=stretch), "")
    while await store.write(lambda tx: sent.forget_old(tx, stretch)):
        pass


def inbox_payloads(tx: Tx, after: int, *, age_us: int, stretch: int = STRETCH) -> int | None:
    """Empties updates settled before that age, and their outcomes; their keys stay, so that they are never
    accepted again.

    Looks at ``stretch`` rows after the number ``after`` and returns the last one's; ``None``: there are none.
    """
    last = _last(tx, inbox.c.id, after, stretch)
    if last is not None:
        here = and_(inbox.c.id > after, inbox.c.id <= last)
        old = and_(inbox.c.state != InboxState.PENDING, inbox.c.settled_us <= tx.now_us() - age_us)
        whole = or_(func.length(inbox.c.payload) > 0, inbox.c.outcome != "")
        tx.connection.execute(update(inbox).where(here, old, whole).values(payload=b"", outcome=""))
    return last


def outbox_cards(tx: Tx, after: int, *, age_us: int, stretch: int = STRETCH) -> int | None:
    """Empties rows delivered or given up before that age; message ids stay, so that replies find their task. A row
    that holds a live card, or whose task has not ended, is kept; a card that has a key only for its buttons is
    dropped first. Walks like :func:`inbox_payloads`."""
    last = _last(tx, outbox.c.id, after, stretch)
    if last is not None:
        here = and_(outbox.c.id > after, outbox.c.id <= last)
        old = and_(
            outbox.c.state.in_((OutboxState.DELIVERED, OutboxState.GAVE_UP)),
            outbox.c.settled_us <= tx.now_us() - age_us,
        )
        done = and_(here, old, outbox.c.task.not_in(_LIVE))
        edits = outbox.alias("edits")
        changing = select(edits.c.id).where(
            edits.c.put == cards.c.put,
            edits.c.kind == OutboxKind.EDIT,
            edits.c.state.in_((OutboxState.WAITING, OutboxState.IN_FLIGHT)),
        )
        loose = and_(cards.c.card_key.startswith(LOOSE, autoescape=True), ~changing.exists())
        tx.connection.execute(delete(cards).where(loose, cards.c.put.in_(select(outbox.c.id).where(done))))
        over = ~select(cards.c.put).where(cards.c.put == outbox.c.id).exists()
        tx.connection.execute(update(outbox).where(done, outbox.c.card_json != "", over).values(card_json=""))
    return last


def sent_inputs(tx: Tx, after: int, *, age_us: int, stretch: int = STRETCH) -> int | None:
    """Deletes what was sent to processes of sessions that were closed before that age, unless their work has not
    landed. Walks like :func:`inbox_payloads`."""
    last = _last(tx, inputs.c.id, after, stretch)
    if last is not None:
        of_pipes = (
            select(inputs.c.id, sessions.c.task)
            .join(turns, turns.c.pipe == inputs.c.pipe)
            .join(sessions, sessions.c.id == turns.c.session)
            .where(inputs.c.id > after, inputs.c.id <= last)
            .where(sessions.c.ended_us > 0, sessions.c.ended_us <= tx.now_us() - age_us)
        )
        old = [(row.id, row.task) for row in tx.connection.execute(of_pipes)]
        over = trees.without_work(tx, {task for _, task in old})
        gone = {number for number, task in old if task in over}
        tx.connection.execute(delete(inputs).where(inputs.c.id.in_(gone)))
    return last


def dead_buttons(tx: Tx, after: str, *, age_us: int, stretch: int = STRETCH) -> str | None:
    """Deletes buttons that nobody could press since before that age: pressed once, or expired.

    Unknown buttons are refused like these. Walks like :func:`inbox_payloads`, by token.
    """
    last = _last(tx, actions.c.token, after, stretch)
    if last is not None:
        here = and_(actions.c.token > after, actions.c.token <= last)
        before = tx.now_us() - age_us
        pressed = and_(actions.c.once, actions.c.used_us != 0, actions.c.used_us <= before)
        expired = and_(actions.c.expires_us != 0, actions.c.expires_us <= before)
        tx.connection.execute(delete(actions).where(here, or_(pressed, expired)))
    return last


def attached(tx: Tx, age_us: int) -> set[str]:
    """The paths of files sent for tasks that have not ended, or ended within that age."""
    late = select(tasks.c.id).where(tasks.c.updated_us > tx.now_us() - age_us)
    paths = [select(attachments.c.path).where(attachments.c.task.in_(needed)) for needed in (late, _LIVE)]
    return {path for query in paths for path in tx.connection.execute(query).scalars()}


def on_their_way(tx: Tx) -> list[str]:
    """The cards (JSON) that are neither delivered nor given up, for every adapter."""
    found: list[str] = []
    next_adapter = select(func.min(outbox.c.adapter))  # uses the index, which starts with the adapter
    adapter = tx.connection.execute(next_adapter).scalar()
    while adapter is not None:
        waiting = and_(
            outbox.c.adapter == adapter, outbox.c.state.in_((OutboxState.WAITING, OutboxState.IN_FLIGHT))
        )
        found += tx.connection.execute(select(outbox.c.card_json).where(waiting)).scalars()
        adapter = tx.connection.execute(next_adapter.where(outbox.c.adapter > adapter)).scalar()
    return found


def live_among(tx: Tx, ids: Collection[str]) -> set[str]:
    """Which of these ids are tasks that have not ended, or questions of such tasks."""
    mine = select(tasks.c.id).where(tasks.c.id.in_(ids), tasks.c.id.in_(_LIVE))
    asked = select(approvals.c.id).where(approvals.c.id.in_(ids), approvals.c.task.in_(_LIVE))
    return set(tx.connection.execute(mine.union(asked)).scalars())


async def prune_inputs(store: Store, age_us: int, *, stretch: int = STRETCH) -> None:
    """As :func:`prune_rows`, for what was sent to processes."""
    await _walk(store, partial(sent_inputs, age_us=age_us, stretch=stretch), 0)


async def _walk(store: Store, stretch: Callable[[Tx, _Key], _Key | None], first: _Key) -> None:
    last: _Key | None = first
    while last is not None:
        last = await store.write(partial(_one, stretch, last))


def _one(stretch: Callable[[Tx, _Key], _Key | None], after: _Key, tx: Tx) -> _Key | None:
    return stretch(tx, after)


def _last(tx: Tx, key: Column[Any], after: _Key, rows: int) -> _Key | None:
    """The key of the last of the next ``rows`` rows."""
    following = select(key).where(key > after).order_by(key).limit(rows).subquery()
    last: _Key | None = tx.connection.execute(select(func.max(following.c[key.name]))).scalar()
    return last
