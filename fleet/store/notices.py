"""What one controller tells the others that share its store: PostgreSQL's LISTEN and NOTIFY.

A notice is part of the transaction that it is about, and arrives after its commit. It only says that there is
news: what the news is, is read from the store. One that is lost costs a pause, as whoever listens also looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from typing import Final

from sqlalchemy import bindparam, text

from fleet.errors import LeadershipLost, StoreUnavailable
from fleet.events import Recorded
from fleet.store import ledger
from fleet.store.core import Store, Tx
from fleet.store.listening import CHANNEL
from fleet.supervise import OwnedTasks

_log = logging.getLogger(__name__)

_NOTIFY = text("SELECT pg_notify(:channel, :told)").bindparams(bindparam("channel", CHANNEL))
_WAIT_SECONDS: Final = 0.5
_QUIET: Final = 4
"""After so many waits without a notice the ledger is looked at all the same."""
_MOST: Final = 4_000
"""Bytes of a key: PostgreSQL takes 8,000 for the whole notice."""


class Topic(StrEnum):
    """What a notice is about. ``key`` with it: a task, a repository, or nothing."""

    TASK = "task"  # something about a task changed; without a key, about any
    LANDING = "landing"  # a repository's landing queue changed
    RETURNING = "returning"  # how many tasks of a controller want a slot back, by machine
    LEADS = "leads"  # tasks were given to controllers, or given back
    LEDGER = "ledger"  # events were appended


Heard = Callable[[str, str], None]
_HEARD: Final = "heard"
_PAGE: Final = 1_000


class Notices:
    """One for a controller that shares its store. ``heard`` are the kinds of events that observers in other
    controllers hear of; of all others they are only told that the ledger has grown."""

    def __init__(self, store: Store, heard: Collection[str]) -> None:
        self._store, self._heard = store, tuple(heard)
        self._origin = secrets.token_hex(4)
        self._listeners: dict[Topic, list[Heard]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-listen")
        self._late = OwnedTasks()
        self._seq = -1  # the last event that was looked at
        store.observe(self._observe)

    # --- telling ------------------------------------------------------------------------------------------

    def tell(self, tx: Tx, topic: Topic, key: str = "") -> None:
        """Tells the others once this transaction is committed."""
        told = json.dumps([self._origin, topic, key[:_MOST]])
        if tx.first(told):
            tx.connection.execute(_NOTIFY, {"told": told})

    def tell_soon(self, topic: Topic, key: str = "") -> None:
        """The same, in a transaction of its own. While the store is away nobody is told."""
        self._late.begin(self._tell(topic, key), "tell other controllers")

    async def _tell(self, topic: Topic, key: str) -> None:
        with contextlib.suppress(StoreUnavailable, LeadershipLost):
            await self._store.write(lambda tx: self.tell(tx, topic, key))

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        self.tell(tx, Topic.LEDGER, _HEARD if recorded.event.KIND in self._heard else "")

    # --- hearing ------------------------------------------------------------------------------------------

    def hear(self, topic: Topic, heard: Heard) -> None:
        """``heard`` is called on the event loop with the key and the origin of each notice of other controllers."""
        self._listeners.setdefault(topic, []).append(heard)

    async def run(self) -> None:
        """Until cancelled. Raises ``StoreUnavailable``: call it again."""
        loop = asyncio.get_running_loop()
        if self._seq < 0:
            self._seq = await self._store.read(ledger.size)
        listening = await loop.run_in_executor(self._thread, self._store.listening)
        self._hear_all()
        quiet = 0
        try:
            while True:
                said = await loop.run_in_executor(self._thread, listening.wait, _WAIT_SECONDS)
                events = [self._take(each) for each in said]
                quiet = 0 if events else quiet + 1
                if any(events) or quiet == _QUIET:
                    await self._read_on()
                    quiet = 0
        finally:
            self._thread.submit(listening.close)  # after the wait that may still run there

    async def close(self) -> None:
        """Tells nobody any more. :meth:`run` has ended before."""
        await self._late.end()
        await asyncio.to_thread(self._thread.shutdown)

    def _hear_all(self) -> None:
        """What was told while nobody listened is not known: everybody looks."""
        for topic in (Topic.TASK, Topic.LEADS, Topic.LEDGER):
            for heard in self._listeners.get(topic, ()):
                heard("", "")

    def _take(self, said: str) -> bool:
        """Tells the listeners; whether there are events to hear of."""
        try:
            origin, name, key = json.loads(said)
            topic = Topic(name)
        except (ValueError, TypeError):
            _log.warning("a notice of another program on channel %s: %r", CHANNEL, said[:80])
            return False
        if origin == self._origin:
            return False
        for heard in self._listeners.get(topic, ()):
            heard(key, origin)
        return topic is Topic.LEDGER and key == _HEARD

    async def _read_on(self) -> None:
        """Tells the hearers of the store what was appended, here or elsewhere, since it was last read."""
        while True:
            after = self._seq
            size, found = await self._store.read(partial(self._since, after=after))
            for recorded in found:
                for hearer in self._store.hearers:
                    hearer(recorded)
            full = len(found) == _PAGE
            self._seq = found[-1].seq if full else max(size, after)
            if not full:
                return

    def _since(self, tx: Tx, after: int) -> tuple[int, list[Recorded]]:
        return ledger.size(tx), ledger.read(tx, after=after, limit=_PAGE, kinds=self._heard)
