"""From a card to a chat: an outbox row in the transaction of what it tells of, then delivered until it is there.

Rows of one chat leave in their order; a chat or a platform that asks for patience holds up nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from bot.cards import Action, Card, task_key
from bot.hearing.message import Message
from fleet.errors import AirbossError, Malformed, StoreUnavailable, Unavailable
from fleet.model import ChatRef
from fleet.store.chat import buttons as button_rows
from fleet.store.chat import cards as card_rows
from fleet.store.chat import moves, outbox
from fleet.store.core import Store, Tx
from fleet.supervise import Component, OwnedTasks, Supervisor

log = logging.getLogger(__name__)

PING: Final = 0
REPLY: Final = 1
CARD: Final = 2
EDIT: Final = 3
"""Priorities, the most urgent first: when a platform's budget is short, pings outrank edits."""

_LOOK_SECONDS: Final = 5.0
"""The outbox is looked at this often unasked: a bell that was missed costs seconds, never a message."""

_BACKOFF_SECONDS: Final = (1, 2, 5, 15, 30, 60)
_BATCH: Final = 32
_AT_ONCE: Final = 8


class RetryAfter(Exception):
    """The platform asks for patience: ``seconds``, for this chat only or for everything (``everywhere``)."""

    def __init__(self, seconds: float, *, everywhere: bool = False) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds, self.everywhere = seconds, everywhere


class Undeliverable(Exception):
    """The platform will never take this (the chat is gone, the bot was thrown out): it is given up."""


class Moved(Exception):
    """The chat has a new id, ``chat``: what is in the store moves along, and the card is sent there."""

    def __init__(self, chat: str) -> None:
        super().__init__(f"the chat is now {chat}")
        self.chat = chat


@dataclass(frozen=True, slots=True)
class AdapterLimits:
    """What a chat can carry. ``text``: characters of one message; ``buttons``: of one card; ``edits``: whether
    a message can be changed afterwards."""

    text: int
    buttons: int
    edits: bool = True


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A card on its way. ``edits`` is the platform's id of the message it replaces, empty for a new one.
    ``again``: an earlier process may have sent it already, so it is marked for the reader. ``root``: the thread
    or the message under which its task is talked about in this chat; empty for the task's own first card.
    ``soon``: an edit that somebody waits for."""

    id: int
    chat: ChatRef
    card: Card
    edits: str
    ping: bool
    again: bool
    task: str
    key: str
    root: str = ""
    soon: bool = False


Receive = Callable[[Message], Awaitable[bool]]


class Adapter(Protocol):
    """One chat platform. The only thing that sends."""

    @property
    def name(self) -> str:
        """What ``ChatRef.adapter`` says."""

    @property
    def limits(self) -> AdapterLimits:
        """What the platform can carry."""

    async def start(self, receive: Receive) -> None:
        """Begins to take messages. Each is acknowledged only after ``receive`` has returned."""

    async def deliver(self, outgoing: Outgoing) -> str:
        """Sends the card and answers with the platform's id of the message. Raises ``RetryAfter``,
        ``Unavailable`` (tried again, later and later), ``Moved`` or ``Undeliverable``."""

    async def close(self) -> None:
        """Stops taking messages."""


_DELIVERERS: WeakKeyDictionary[Store, list[Deliverer]] = WeakKeyDictionary()


def _ring(store: Store, adapter: str, number: int = 0) -> None:
    for deliverer in _DELIVERERS.get(store, ()):
        deliverer.ring(adapter, number)


def leave_at_once(tx: Tx, adapter: str) -> None:
    """Claims what may leave now within the transaction that posted it: an answer needs no second commit."""
    for deliverer in _DELIVERERS.get(tx.store, ()):
        deliverer.take(tx, adapter)


_collecting = threading.local()


@contextlib.contextmanager
def collecting() -> Iterator[list[int]]:
    """The outbox rows that :func:`post` writes meanwhile on this thread, inside one transaction."""
    numbers: list[int] = []
    _collecting.numbers = numbers
    try:
        yield numbers
    finally:
        _collecting.numbers = None


def post(
    tx: Tx,
    chat: ChatRef,
    card: Card,
    *,
    key: str = "",
    ping: bool = False,
    task: str = "",
    priority: int | None = None,
) -> int:
    """Puts a new message into the outbox. With ``key`` it can be changed later by :func:`repost`."""
    if priority is None:
        priority = PING if ping else REPLY
    if not key and any(action.once for action in card.actions):
        key = card_rows.loose_key()  # what is pressed goes from the card, so it must be found again
    number = outbox.put(
        tx, chat=chat, card_json=card.to_json(), card_key=key, ping=ping, priority=priority, task=task
    )
    if card.actions:
        outbox.redraw(tx, number, _with_tokens(tx, chat, card, number).to_json())
    store = tx.store
    tx.after_commit(lambda: _ring(store, chat.adapter, number))
    collected: list[int] | None = getattr(_collecting, "numbers", None)
    if collected is not None:
        collected.append(number)
    return number


def repost(tx: Tx, chat: ChatRef, card: Card, *, key: str, soon: bool = False) -> None:
    """Changes the message posted under ``key`` in this chat; of changes that wait, only the newest is sent.

    ``soon``: it answers somebody's press, so it is not put off for messages that nobody waits for.

    A once-only button that was pressed on it does not come back.
    """
    put = outbox.lives_in(tx, key, chat)
    if not put:
        return
    once = {action.command for action in card.actions if action.once}
    used = button_rows.spent(tx, chat, put, once) if once else ()
    kept = [one for one in card.actions if not one.once or (one.command, one.digest) not in used]
    outbox.edit(tx, key, _with_tokens(tx, chat, card.with_actions(kept), put).to_json(), chat=chat, soon=soon)
    store = tx.store
    tx.after_commit(lambda: _ring(store, chat.adapter))


def _with_tokens(tx: Tx, chat: ChatRef, card: Card, put: int) -> Card:
    """The card with a token for each button, bound to the message that the row ``put`` becomes."""

    def minted(action: Action) -> Action:
        token = button_rows.mint(tx, chat, command=action.command, once=action.once, digest=action.digest, put=put)
        return replace(action, token=token)

    return card.with_actions(map(minted, card.actions))


@dataclass(frozen=True, slots=True)
class _Claimed:
    delivery: outbox.Delivery
    root: str


class Deliverer:
    """Carries the outbox to the adapters until closed."""

    def __init__(self, store: Store, adapters: Sequence[Adapter], supervisor: Supervisor) -> None:
        self._store, self._supervisor = store, supervisor
        self._adapters = tuple(adapters)
        self._bells = {adapter.name: asyncio.Event() for adapter in adapters}
        self._workers: list[Component] = []
        self._paused_until = {adapter.name: 0.0 for adapter in adapters}
        self._carried = {adapter.name: OwnedTasks() for adapter in adapters}
        self._settled = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung: dict[str, set[int]] = {adapter.name: set() for adapter in adapters}

    async def start(self) -> None:
        """Begins with what an earlier process left in flight."""
        for adapter in self._adapters:
            await self._store.write(partial(outbox.unsettled, adapter=adapter.name))
            self._workers.append(self._supervisor.run(f"deliver {adapter.name}", partial(self._work, adapter)))
        self._loop = asyncio.get_running_loop()
        _DELIVERERS.setdefault(self._store, []).append(self)

    async def close(self) -> None:
        """Stops. What is in flight is sent again, marked, by the next process."""
        with contextlib.suppress(KeyError, ValueError):
            _DELIVERERS[self._store].remove(self)
        for worker in self._workers:
            await worker.end()
        for carried in self._carried.values():
            await carried.end()

    async def drained(self, chat: ChatRef) -> None:
        """Waits until nothing is left to be sent to this chat."""
        async with self._settled:
            while await self._store.read(lambda tx: outbox.backlog(tx, chat)):
                await self._settled.wait()

    def ring(self, adapter: str, number: int = 0) -> None:
        """There is something for this adapter; row ``number``, unless :meth:`take` took it with its transaction."""
        if adapter not in self._bells:
            return
        self._rung[adapter].add(number)
        if self._loop is not None:
            self._loop.call_soon(self._toll, adapter)

    def _toll(self, adapter: str) -> None:
        if self._rung[adapter]:
            self._rung[adapter].clear()
            self._bells[adapter].set()

    def take(self, tx: Tx, adapter: str) -> None:
        """Claims in ``tx`` and carries after its commit. Called on the store's thread."""
        paused = self._paused_until.get(adapter)
        if paused is None or self._loop is None or paused > self._loop.time():
            return
        claimed = _claimed(tx, adapter, _AT_ONCE)
        if claimed:
            tx.after_commit(lambda: self._carry_taken(adapter, claimed))

    def _carry_taken(self, name: str, claimed: list[_Claimed]) -> None:
        self._rung[name].difference_update(one.delivery.id for one in claimed)
        adapter = next(one for one in self._adapters if one.name == name)
        if all(worker.done for worker in self._workers):
            return  # closed meanwhile: the next process sends them
        for one in claimed:
            self._begin(adapter, one)

    def _begin(self, adapter: Adapter, claimed: _Claimed) -> None:
        self._carried[adapter.name].begin(self._carry(adapter, claimed), f"deliver to {adapter.name}")

    async def _work(self, adapter: Adapter) -> None:
        """Claims what may leave and carries each row by itself, so that a slow chat holds up no other."""
        bell, name, loop = self._bells[adapter.name], adapter.name, asyncio.get_running_loop()
        while True:
            bell.clear()
            if (pause := self._paused_until[name] - loop.time()) > 0:
                await asyncio.sleep(pause)
            batch = await self._claim(name, _BATCH - len(self._carried[name]))
            for claimed in batch:
                self._begin(adapter, claimed)
            if not batch:
                await self._idle(bell, name)

    async def _claim(self, name: str, room: int) -> list[_Claimed]:
        if room <= 0:
            return []
        try:
            return await self._store.write(lambda tx: _claimed(tx, name, room))
        except StoreUnavailable:
            log.exception("the outbox cannot be read; what waits in it is sent later")
            await asyncio.sleep(_BACKOFF_SECONDS[0])
            return []

    async def _idle(self, bell: asyncio.Event, name: str) -> None:
        due = await self._store.read(lambda tx: outbox.next_due_us(tx, name))
        seconds = _LOOK_SECONDS if due is None else min(due / 1_000_000 + 0.001, _LOOK_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await bell.wait()

    async def _carry(self, adapter: Adapter, claimed: _Claimed) -> None:
        delivery = claimed.delivery
        try:
            message_id = await adapter.deliver(_outgoing(claimed))
        except RetryAfter as asked:
            if asked.everywhere:
                self._paused_until[adapter.name] = asyncio.get_running_loop().time() + asked.seconds
            await self._settle(_later(delivery, asked.seconds, str(asked)))
        except Unavailable as error:
            seconds = _BACKOFF_SECONDS[min(delivery.attempts, len(_BACKOFF_SECONDS) - 1)]
            await self._settle(_later(delivery, seconds, str(error)))
        except Moved as moved:
            await self._settle(_moved(delivery, moved.chat))
        except (Undeliverable, AirbossError) as error:
            await self._settle(_given_up(delivery, str(error)))
        except Exception as error:
            log.exception("a card could not be delivered to %s", adapter.name)
            await self._settle(_given_up(delivery, f"{type(error).__name__}: {error}"[:500]))
        else:
            await self._settle(lambda tx: outbox.delivered(tx, delivery.id, message_id))
        self._bells[adapter.name].set()

    async def _settle(self, work: Callable[[Tx], None]) -> None:
        """Records what came of a row, however long the store takes: unrecorded, its card could not be changed."""
        for pause in (*_BACKOFF_SECONDS, None):
            try:
                await self._store.write(work)
                break
            except StoreUnavailable:
                if pause is None:
                    raise
                log.exception("what came of a card could not be recorded; it is tried again")
                await asyncio.sleep(pause)
        async with self._settled:
            self._settled.notify_all()


def _later(delivery: outbox.Delivery, seconds: float, why: str) -> Callable[[Tx], None]:
    return lambda tx: outbox.retry(tx, delivery.id, tx.now_us() + int(seconds * 1_000_000), why)


def _given_up(delivery: outbox.Delivery, why: str) -> Callable[[Tx], None]:
    return lambda tx: outbox.gave_up(tx, delivery.id, why)


def _moved(delivery: outbox.Delivery, chat: str) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        moves.moved(tx, delivery.chat.adapter, delivery.chat.chat, chat)
        outbox.retry(tx, delivery.id, 0, f"the chat is now {chat}")

    return work


def _claimed(tx: Tx, name: str, room: int) -> list[_Claimed]:
    return [_Claimed(one, _root(tx, one)) for one in outbox.claim(tx, name, room)]


def _root(tx: Tx, delivery: outbox.Delivery) -> str:
    key = task_key(delivery.task)
    if not delivery.task or delivery.card_key == key:
        return ""
    return outbox.thread_of(tx, key, delivery.chat.adapter, delivery.chat.chat)


def _outgoing(claimed: _Claimed) -> Outgoing:
    delivery = claimed.delivery
    try:
        card = Card.from_json(delivery.card_json)
    except Malformed as error:
        raise Undeliverable(str(error)) from error
    return Outgoing(
        id=delivery.id,
        chat=delivery.chat,
        card=card,
        edits=delivery.message_id,
        ping=delivery.ping,
        again=delivery.again,
        task=delivery.task,
        key=delivery.card_key,
        root=claimed.root,
        soon=delivery.soon,
    )
