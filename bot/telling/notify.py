"""What reaches a person, derived from the ledger by a durable cursor: each event is told once, whatever dies.

The cursor moves in the transaction that writes the outbox rows, so a crash loses and repeats nothing, and no
mistake in a card can undo what the dispatcher recorded. Silent by default: the first red of a task, its end by
exhaustion, what waits for a person and what got lost ping; everything else edits a card or comes without sound.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bot.cards import Card, task_key
from bot.outbox.delivering import CARD, post, repost
from bot.telling import buttons, notices, sounds
from bot.telling.notices import Notice, Telling
from bot.telling.progress import Progress, progress_card
from fleet.config import FleetConfig
from fleet.errors import AirbossError, Misused
from fleet.events import Recorded, TaskMoved
from fleet.model import ENDS, ChatRef, Task
from fleet.store import approvals, ledger, tasks
from fleet.store.chat import settings
from fleet.store.core import Store, Tx
from fleet.supervise import Component, Supervisor

log = logging.getLogger(__name__)

CURSOR = "notify.seq"
_BATCH = 500
_KEPT = 500
_BREATH_SECONDS = 0.05
_RETRY_SECONDS = 1.0


class Progresses:
    """Each task's progress, folded as far as the ledger goes; forgotten ones are folded anew when asked for."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Progress] = OrderedDict()

    def after(self, tx: Tx, recorded: Recorded) -> Progress:
        """The progress of the event's task, that event included."""
        task_id = recorded.refs.task
        progress = self._known.get(task_id)
        if progress is None:
            progress = self._known[task_id] = folded(tx, task_id, upto=recorded.seq)
        self._known.move_to_end(task_id)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        progress.fold(recorded)
        return progress

    def forget(self) -> None:
        """Drops everything: what was folded may not have been committed as told."""
        self._known.clear()


def folded(tx: Tx, task_id: str, upto: int | None = None) -> Progress:
    """A task's progress up to event ``upto`` (all of it without), read from the ledger."""
    progress, after = Progress(), 0
    while batch := ledger.read(tx, after=after, task=task_id):
        for recorded in batch:
            if upto is not None and recorded.seq > upto:
                return progress
            progress.fold(recorded)
        after = batch[-1].seq
    return progress


class Notifier:
    """Follows the ledger and keeps every origin chat informed. ``files`` is where documents are written."""

    def __init__(
        self,
        store: Store,
        config: Callable[[], FleetConfig],
        supervisor: Supervisor,
        breath: float = _BREATH_SECONDS,
        files: Path | None = None,
    ) -> None:
        self._store, self._config, self._breath, self._files = store, config, breath, files
        self._supervisor = supervisor
        self._bell = asyncio.Event()
        self._moved = asyncio.Condition()
        self._seq = 0
        self._progresses = Progresses()
        self._shown: dict[str, Card] = {}
        self._worker: Component | None = None
        store.observe(self._observe)

    async def start(self) -> None:
        """Tells what happened since the last event that was told."""
        self._worker = self._supervisor.run("notifier", self._work)

    async def close(self) -> None:
        """Stops; the next start goes on after the last committed event."""
        if self._worker is not None:
            await self._worker.end()

    async def caught_up(self) -> None:
        """Waits until everything that is in the ledger now has been told to the outbox."""
        size = await self._store.read(ledger.size)
        async with self._moved:
            await self._moved.wait_for(lambda: self._seq >= size)

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        tx.after_commit(self._bell.set)

    async def _work(self) -> None:
        self._progresses.forget()
        self._shown.clear()
        self._bell.set()
        while True:
            await self._bell.wait()
            self._bell.clear()
            more = True
            while more:
                try:
                    seq, more = await self._store.write(self._advance)
                except AirbossError:
                    log.exception("the ledger's news could not be told; they are told later")
                    self._progresses.forget()
                    self._shown.clear()
                    self._bell.set()
                    await asyncio.sleep(_RETRY_SECONDS)
                    break
                async with self._moved:
                    self._seq = seq
                    self._moved.notify_all()
            await asyncio.sleep(self._breath)

    def _advance(self, tx: Tx) -> tuple[int, bool]:
        """Tells one batch; answers how far that is, and whether there is more."""
        config = self._config()
        telling = Telling(config.isolation, lambda person: sounds.name_of(config, person), self._files)
        after = int(settings.get(tx, CURSOR) or 0)
        batch = ledger.read(tx, after=after, limit=_BATCH)
        touched: dict[str, tuple[Task, Progress]] = {}
        for recorded in batch:
            if not recorded.refs.task:
                continue
            try:
                task = tasks.task(tx, recorded.refs.task)
            except Misused:
                continue
            progress = self._progresses.after(tx, recorded)
            task = replace(task, why=sounds.named(config, task.why))
            touched[task.id] = task, progress
            if isinstance(recorded.event, TaskMoved) and recorded.event.new in ENDS:
                buttons.ended(tx, task)
                self._shown.pop(task.id, None)
            for notice in notices.of(tx, task, recorded, progress, telling):
                self._tell(tx, config, task, notice)
        for task, progress in touched.values():
            card = buttons.honest(tx, task, progress_card(task, progress, config.isolation, tx.now_us()))
            if self._shown.get(task.id) != card:
                self._shown[task.id] = card
                repost(tx, task.origin, card, key=task_key(task.id))
            if task.state in ENDS:
                self._shown.pop(task.id, None)
        if not batch:
            return after, False
        settings.put(tx, CURSOR, str(batch[-1].seq))
        return batch[-1].seq, len(batch) == _BATCH

    def _tell(self, tx: Tx, config: FleetConfig, task: Task, notice: Notice) -> None:
        chat: ChatRef = task.origin
        card = sounds.addressed(config, buttons.honest(tx, task, notice.card))
        if notice.edits:
            buttons.change(tx, notice.key, card, soon=notice.soon)
            return
        ping = sounds.audible(tx, config, chat, task.requester, notice.sound)
        if notice.approval and ping:
            approvals.note(tx, notice.approval, pinged=True)
        post(tx, chat, card, key=notice.key, ping=ping, task=task.id, priority=None if ping else CARD)
