"""Delivers the outbox: each row until it is delivered, given up, or left for the next process.

Rows of a chat are sent in order. A chat or a platform that asks us to wait delays nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Final

from bot.cards import Card, task_key
from bot.outbox.closed import WHY
from bot.outbox.contact import Contact, Way
from bot.outbox.port import Adapter, ChatMoved, Outgoing, RetryAfter, Undeliverable, Unsure, always, as_it_is
from bot.outbox.posting import Outbox
from fleet.errors import AirbossError, Malformed, Unavailable
from fleet.events import Refs, RootPosted, Source
from fleet.failpoints import failpoint
from fleet.faults import Point, fault
from fleet.model import AIRBOSS, ChatRef
from fleet.store import ledger
from fleet.store.chat import moves, outbox
from fleet.store.core import Tx
from fleet.supervise import Component, OwnedTasks, Supervisor, retry_while_store_is_away

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 5.0
"""The outbox is checked this often anyway: a missed wake-up costs seconds, never a message."""

_BACKOFF_SECONDS: Final = (1, 2, 5, 15, 30, 60)
_BATCH: Final = 32
_AT_ONCE: Final = 8
_FOLLOWERS: Final = 2
"""What a row that was sent lets go at most: its chat's next message, and a change of its card."""


Closed = Callable[[Tx, outbox.Delivery], bool]


@dataclass(frozen=True, slots=True)
class _Claimed:
    delivery: outbox.Delivery
    root: str


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows that one transaction claimed. ``full``: there may be more."""

    rows: tuple[_Claimed, ...]
    full: bool


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of a row. ``record`` writes it; ``later``: the row waits for another try."""

    record: Callable[[Tx], None]
    later: bool = False


class _Route:
    """The delivery through one adapter. ``sending``: the rows that this process sends now; ``unclaimed``: committed
    rows that :meth:`Deliverer.take` did not claim; ``paused_until``: the loop's time."""

    def __init__(self, adapter: Adapter, contact: Contact) -> None:
        self.adapter, self.contact = adapter, contact
        self.wake = asyncio.Event()
        self.tasks = OwnedTasks()
        self.sending: set[int] = set()
        self.unclaimed: set[int] = set()
        self.paused_until = 0.0


class Deliverer:
    """Sends the outbox through the adapters until closed. ``contacts``: by adapter, who hears whether it works;
    ``closed``: whether a row must not be sent any more; ``sure``: comes back while nobody else may send; ``files``:
    gives a card with its files on this host."""

    def __init__(
        self,
        posted: Outbox,
        adapters: Sequence[Adapter],
        supervisor: Supervisor,
        contacts: Mapping[str, Contact] = MappingProxyType({}),
        closed: Closed = lambda tx, delivery: False,
        *,
        sure: Callable[[], Awaitable[None]] = always,
        files: Callable[[Card], Awaitable[Card]] = as_it_is,
    ) -> None:
        self._closed, self._sure, self._files = closed, sure, files
        self._outbox, self._store, self._supervisor = posted, posted.store, supervisor
        self._routes = {each.name: _Route(each, contacts.get(each.name) or Contact()) for each in adapters}
        self._workers: list[Component] = []
        self._settled = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Starts with what an earlier process left in flight."""
        self._loop = asyncio.get_running_loop()
        self._outbox.carrier = self
        for name, route in self._routes.items():
            self._workers.append(self._supervisor.run(f"deliver {name}", partial(self._work, route)))

    async def close(self) -> None:
        """Stops. What is in flight is sent again, marked, by the next process."""
        self._outbox.carrier = None
        for worker in self._workers:
            await worker.end()
        for route in self._routes.values():
            await route.tasks.end()

    async def drained(self, chat: ChatRef) -> None:
        """Waits until nothing is left to send to this chat, however long the store is unavailable."""

        async def backlog() -> int:
            return await self._store.read(lambda tx: outbox.backlog(tx, chat))

        async with self._settled:
            while await retry_while_store_is_away(backlog, self._supervisor.clock):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._settled.wait()

    def ring(self, adapter: str, numbers: Collection[int]) -> None:
        """There are rows for this adapter, unless :meth:`take` claimed them in their transaction."""
        route = self._routes.get(adapter)
        if route is None or self._loop is None:
            return
        route.unclaimed.update(numbers or (0,))
        self._loop.call_soon(self._wake, route)

    def _wake(self, route: _Route) -> None:
        if route.unclaimed:
            route.unclaimed.clear()
            route.wake.set()

    def take(self, tx: Tx, adapter: str) -> None:
        """Claims in ``tx`` and sends after its commit. Called on the store's thread."""
        route = self._routes.get(adapter)
        if route is None or self._loop is None or route.paused_until > self._loop.time():
            return
        self._take(tx, route, _AT_ONCE)

    def _take(self, tx: Tx, route: _Route, most: int) -> None:
        batch = self._claimed(tx, route.adapter.name, most)
        tx.after_commit(lambda: self._send_claimed(route, batch))

    def _send_claimed(self, route: _Route, batch: _Batch) -> None:
        route.unclaimed.clear()  # it was committed before this batch was claimed, or with it
        if all(worker.done for worker in self._workers):
            return  # closed meanwhile: the next process sends them
        for row in batch.rows:
            self._begin(route, row)
        if batch.full:
            route.wake.set()

    def _claimed(self, tx: Tx, name: str, room: int) -> _Batch:
        """Takes rows to send; those for a chat that is closed are given up here."""
        found, claimed = [], outbox.claim(tx, name, room)
        for delivery in claimed:
            if self._closed(tx, delivery):
                outbox.gave_up(tx, delivery.id, WHY)
            else:
                found.append(_Claimed(delivery, _root(tx, delivery)))
        return _Batch(tuple(found), len(claimed) == room or len(found) < len(claimed))

    def _begin(self, route: _Route, claimed: _Claimed) -> None:
        route.sending.add(claimed.delivery.id)
        route.tasks.begin(self._deliver(route, claimed), f"deliver to {route.adapter.name}")

    async def _work(self, route: _Route) -> None:
        """Claims what may be sent and sends each row in its own task, so that a slow chat delays no other.

        Whatever it raises, the supervisor starts it again from the store.
        """
        name, loop = route.adapter.name, asyncio.get_running_loop()
        await self._recover(route)
        while True:
            route.wake.clear()
            if (pause := route.paused_until - loop.time()) > 0:
                await asyncio.sleep(pause)
            due = await self._due(route)
            room = _BATCH - len(route.tasks)
            if due == 0 and room > 0:
                batch = await self._store.write(partial(self._claimed, name=name, room=room))
                for claimed in batch.rows:
                    self._begin(route, claimed)
                continue
            seconds = _LOOK_SECONDS if due is None else min(due / 1_000_000 + 0.001, _LOOK_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds if room > 0 else _LOOK_SECONDS):
                    await route.wake.wait()

    async def _recover(self, route: _Route) -> None:
        """Rows in flight that this process does not send are queued again: an earlier process claimed them, or this
        one did and did not learn that the commit had succeeded."""
        # Read on the writer's thread: the wake-ups of earlier commits have then arrived here.
        claimed = await self._store.write(lambda tx: outbox.in_flight(tx, route.adapter.name))
        lost = [number for number in claimed if number not in route.sending]
        if lost:
            await self._store.write(lambda tx: outbox.requeue(tx, route.adapter.name, lost))

    async def _due(self, route: _Route) -> int | None:
        """In how many microseconds a row may be sent; ``None``: none waits for that."""
        name = route.adapter.name
        due, claimed = await self._store.read(lambda tx: (outbox.next_due_us(tx, name), outbox.in_flight(tx, name)))
        if not route.sending.issuperset(claimed):
            await self._recover(route)
            return await self._store.read(lambda tx: outbox.next_due_us(tx, name))
        return due

    async def _deliver(self, route: _Route, claimed: _Claimed) -> None:
        number = claimed.delivery.id
        try:
            result = await self._result(route, claimed)
            await self._settle(route, number, result)
        except BaseException:
            route.sending.discard(number)
            raise
        if result.later:
            route.wake.set()

    async def _result(self, route: _Route, claimed: _Claimed) -> _Result:
        """Makes a row ready, and sends it while nobody else may."""
        try:
            outgoing = _outgoing(claimed)
        except Undeliverable as error:
            return _given_up(claimed.delivery, str(error))
        card = await retry_while_store_is_away(lambda: self._files(outgoing.card), self._supervisor.clock)
        await self._sure()
        return await self._sent(route, claimed.delivery, replace(outgoing, card=card))

    async def _sent(self, route: _Route, delivery: outbox.Delivery, outgoing: Outgoing) -> _Result:
        try:
            fault(Point.CHAT_CALL)
            failpoint("card-claimed")
            message_id = await route.adapter.deliver(outgoing)
            failpoint("card-sent")
        except RetryAfter as asked:
            if asked.everywhere:
                route.paused_until = asyncio.get_running_loop().time() + asked.seconds
            return _later(delivery, asked.seconds, str(asked), again=asked.unsure)
        except Unavailable as error:
            route.contact.lost(Way.SEND, error.cause or str(error))
            seconds = _BACKOFF_SECONDS[min(delivery.attempts, len(_BACKOFF_SECONDS) - 1)]
            return _later(delivery, seconds, str(error), again=isinstance(error, Unsure))
        except ChatMoved as moved:
            return _moved(delivery, moved)
        except (Undeliverable, AirbossError) as error:
            return _given_up(delivery, str(error))
        except Exception as error:
            log.exception("a card could not be delivered to %s", route.adapter.name)
            return _given_up(delivery, f"{type(error).__name__}: {error}"[:500])
        route.contact.found(Way.SEND)
        return _delivered(delivery, message_id, self._supervisor.clock.now_us())

    async def _settle(self, route: _Route, number: int, result: _Result) -> None:
        """Records the result of a row, however long the store takes: without it, the card could not be edited.

        What waited for this row is claimed in the same transaction; that may be the row itself, for another try.
        """
        room = min(_FOLLOWERS, _BATCH - len(route.tasks) + 1)
        paused = route.paused_until > asyncio.get_running_loop().time()

        def work(tx: Tx) -> None:
            if outbox.is_in_flight(tx, number):  # it is not where the answer to an earlier commit of this was lost
                result.record(tx)
            tx.after_commit(lambda: route.sending.discard(number))
            if room > 0 and not paused:
                self._take(tx, route, room)

        await retry_while_store_is_away(lambda: self._store.write(work), self._supervisor.clock)
        failpoint("card-settled")
        async with self._settled:
            self._settled.notify_all()


def _delivered(delivery: outbox.Delivery, message_id: str, sent_us: int) -> _Result:
    """It was sent. Where it has the ledger's root, the ledger's next entry says which message has it."""

    def work(tx: Tx) -> None:
        outbox.delivered(tx, delivery.id, message_id)
        size, _, root = Card.from_json(delivery.card_json).root.partition(":")
        if root and not delivery.message_id:
            chat = f"{delivery.chat.adapter}:{delivery.chat.chat}"
            event = RootPosted(int(size), root, chat, message_id, sent_us)
            ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=Refs(task=delivery.task))

    return _Result(work)


def _later(delivery: outbox.Delivery, seconds: float, why: str, *, again: bool = False) -> _Result:
    def work(tx: Tx) -> None:
        outbox.retry(tx, delivery.id, tx.now_us() + int(seconds * 1_000_000), why, again=again)

    return _Result(work, later=True)


def _given_up(delivery: outbox.Delivery, why: str) -> _Result:
    return _Result(lambda tx: outbox.gave_up(tx, delivery.id, why))


def _moved(delivery: outbox.Delivery, to: ChatMoved) -> _Result:
    def work(tx: Tx) -> None:
        moves.moved(tx, delivery.chat.adapter, delivery.chat.chat, to.chat)
        if to.message_id:
            outbox.delivered(tx, delivery.id, to.message_id)
        else:
            outbox.retry(tx, delivery.id, 0, str(to))

    return _Result(work, later=True)


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
