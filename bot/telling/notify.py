"""Follows the ledger with a durable cursor and posts what a person should know: each event once, after any crash.

The cursor moves in the transaction that writes the outbox rows, so a crash loses and repeats nothing, and no
bug in a card can undo what the dispatcher recorded. Silent by default: the first failed gate of a task, a bad end
and what waits for a person make a sound; everything else edits a card or arrives without sound.

What has a message of its own is told at once, with its task's card. What only the card shows has time: each round
is a commit, and a task may take a dozen steps in a second, so such steps wait for each other up to a second.

What is remembered between transactions only saves work: it changes after a commit, and is forgotten whenever the
notifier restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bot.cards import Card, Tone, line, task_key
from bot.outbox.posting import Outbox, Posts, Priority
from bot.telling import buttons, direct, notices, sounds
from bot.telling.notices import Notice, NoticeContext
from bot.telling.progress import Progress, progress_card
from fleet.config import FleetConfig
from fleet.errors import LeadershipLost, Misused, StoreUnavailable
from fleet.events import CommandGiven, Recorded, TaskMoved
from fleet.model import ENDS, Task
from fleet.store import approvals, ledger, tasks
from fleet.store.chat import cards as card_rows
from fleet.store.chat import settings
from fleet.store.core import Tx
from fleet.supervise import Component, Supervisor, retry_while_store_is_away

log = logging.getLogger(__name__)

CURSOR = "notify.seq"
_BATCH = 500
_KEPT = 500
_PAUSE_SECONDS = 0.05
_REDRAW_SECONDS = 1.0
_ANY_TIME = float("-inf")


@dataclass(slots=True)
class _Round:
    """What one transaction posted, remembered once it is committed. ``seq``: the last event; ``more``: whether
    there are more events; ``late``: the tasks whose card is drawn later."""

    seq: int
    more: bool
    progresses: dict[str, Progress] = field(default_factory=dict)
    drawn: dict[str, Card] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)


class _Memory:
    """What the last rounds found out. ``late``: the tasks whose card is behind; ``seq``: the last event posted;
    ``at``: when the last round was, in the loop's time."""

    def __init__(self) -> None:
        self.seq, self.at = 0, 0.0
        self.late: set[str] = set()
        self._progresses: OrderedDict[str, Progress] = OrderedDict()
        self._drawn: OrderedDict[str, tuple[Card, float]] = OrderedDict()

    def progress(self, task: str) -> Progress | None:
        """A copy of a task's progress, if it is remembered."""
        known = self._progresses.get(task)
        return known.copy() if known is not None else None

    def card(self, task: str) -> Card | None:
        """A task's card as it was last drawn."""
        found = self._drawn.get(task)
        return found[0] if found is not None else None

    def due(self, task: str, redraw: float) -> float:
        """When a task's card may be drawn again, in the loop's time; an ended task's at once."""
        found = self._drawn.get(task)
        return found[1] + redraw if found is not None else _ANY_TIME

    def keep(self, posted: _Round, now: float) -> None:
        """Takes in a committed round."""
        self.seq, self.at = posted.seq, now
        for task, progress in posted.progresses.items():
            self._progresses[task] = progress
            self._progresses.move_to_end(task)
        for task, card in posted.drawn.items():
            self._drawn[task] = card, _ANY_TIME if task in posted.ended else now
            self._drawn.move_to_end(task)
        for remembered in (self._progresses, self._drawn):
            while len(remembered) > _KEPT:
                remembered.popitem(last=False)
        self.late = posted.late


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
    """Follows the ledger and keeps every origin chat informed. ``files`` is where documents are written; ``direct``
    are the platforms where a person has a private chat.

    ``pause``: seconds between two rounds; ``redraw``: the least seconds between two changes of a card, and the most
    that what only a card shows waits.
    """

    def __init__(
        self,
        outbox: Outbox,
        config: Callable[[], FleetConfig],
        supervisor: Supervisor,
        *,
        pause: float = _PAUSE_SECONDS,
        redraw: float = _REDRAW_SECONDS,
        files: Path | None = None,
        direct: Collection[str] = (),
    ) -> None:
        self._direct = direct
        self._outbox, self._store, self._supervisor = outbox, outbox.store, supervisor
        self._config, self._pause, self._redraw, self._files = config, pause, redraw, files
        self._news, self._urgent = asyncio.Event(), asyncio.Event()
        self._moved = asyncio.Condition()
        self._memory = _Memory()
        self._worker: Component | None = None
        self._store.observe(self._observe)
        self._store.when_unsure(self.look_now)

    async def start(self) -> None:
        """Posts what happened since the last event that was posted."""
        self._worker = self._supervisor.run("notifier", self._work)

    async def close(self) -> None:
        """Stops. The next start continues after the last committed event."""
        if self._worker is not None:
            await self._worker.end()

    async def caught_up(self, task: str = "") -> None:
        """Waits until everything that is in the ledger now is posted, and drawn, however long the store is away.
        ``task``: only its card must be drawn."""
        size = await retry_while_store_is_away(lambda: self._store.read(_news), self._supervisor.clock)
        self.look_now()

        def is_told() -> bool:
            late = self._memory.late
            return self._memory.seq >= size and not (task in late if task else late)

        async with self._moved:
            await self._moved.wait_for(is_told)

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        if isinstance(recorded.event, CommandGiven):
            return  # who gave it has the answer: a look costs no commit here
        tx.after_commit(self.look_now if notices.may_tell(recorded.event) else self._news.set)

    def look_now(self) -> None:
        """The ledger may have grown, with what somebody may wait for."""
        self._news.set()
        self._urgent.set()

    async def _work(self) -> None:
        """Until cancelled. Whatever it raises, the supervisor starts it again from the store."""
        self._memory = _Memory()
        # A card that an earlier process put off may never have been drawn.
        self._memory.late = {task.id for task in await self._store.read(tasks.open_tasks)}
        self.look_now()
        while True:
            await self._due()
            self._news.clear()
            self._urgent.clear()
            more = True
            while more:
                now = asyncio.get_running_loop().time()
                posted = await self._store.write(partial(self._advance, memory=self._memory, now=now))
                self._memory.keep(posted, now)
                more = posted.more
                async with self._moved:
                    self._moved.notify_all()
            await asyncio.sleep(self._pause)

    async def _due(self) -> None:
        """Waits for an event. What only a card shows has time until a card that was put off may be drawn, or else
        until ``redraw`` seconds after the last round."""
        memory = self._memory
        if not memory.late:
            await self._news.wait()
        due = min((memory.due(task, self._redraw) for task in memory.late), default=memory.at + self._redraw)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._urgent.wait()

    def _advance(self, tx: Tx, memory: _Memory, now: float) -> _Round:
        """Posts one batch and draws the cards that are due."""
        config, posts = self._config(), self._outbox.open(tx)
        context = NoticeContext(
            config.isolation,
            partial(sounds.name_of, config),
            partial(sounds.zone_of, tx, config),
            self._files,
        )
        after = int(settings.get(tx, CURSOR) or 0)
        batch = ledger.read(tx, after=after, limit=_BATCH)
        posted = _Round(batch[-1].seq if batch else after, len(batch) == _BATCH)
        known, urgent = _Tasks(tx, config), set[str]()
        for recorded in batch:
            task = known[recorded.refs.task]
            if task is None:
                continue
            with _apart(posts, f"event {recorded.seq} of {task.id}", task):
                progress = self._progress(tx, memory, posted, task.id, recorded.seq)
                progress.fold(recorded)
            if not notices.may_tell(recorded.event):
                posted.late.add(task.id)
                continue
            urgent.add(task.id)
            with _apart(posts, f"event {recorded.seq} of {task.id}", task), tx.part():
                if isinstance(recorded.event, TaskMoved) and recorded.event.new in ENDS:
                    buttons.ended(posts, task)
                for notice in notices.of(tx, task, recorded, progress, context):
                    self._post(posts, config, task, notice)
        for name in sorted(urgent | posted.late | memory.late):
            if name not in urgent and memory.due(name, self._redraw) > now:
                posted.late.add(name)
                continue
            posted.late.discard(name)
            task = known[name]
            if task is not None:
                with _apart(posts, f"the card of {name}"), tx.part():
                    self._draw(posts, config, memory, posted, task)
        if batch:
            settings.put(tx, CURSOR, str(posted.seq))
        posts.leave_at_once()
        return posted

    def _progress(self, tx: Tx, memory: _Memory, posted: _Round, task: str, upto: int) -> Progress:
        """A task's progress up to an event, or a little less: what is remembered, else what the ledger says."""
        found = posted.progresses.get(task) or memory.progress(task) or folded(tx, task, upto=upto)
        posted.progresses[task] = found
        return found

    def _draw(self, posts: Posts, config: FleetConfig, memory: _Memory, posted: _Round, task: Task) -> None:
        progress = self._progress(posts.tx, memory, posted, task.id, posted.seq)
        drawn = progress_card(task, progress, config.isolation, posts.tx.now_us())
        card = buttons.without_dead_buttons(posts.tx, task, drawn)
        if task.state in ENDS:
            posted.ended.add(task.id)
        if memory.card(task.id) == card:
            return
        posts.repost(task.origin, card, key=task_key(task.id))
        posted.drawn[task.id] = card

    def _post(self, posts: Posts, config: FleetConfig, task: Task, notice: Notice) -> None:
        task = notice.task or task
        tx, chat = posts.tx, task.origin
        card = sounds.addressed(config, buttons.without_dead_buttons(tx, task, notice.card))
        if notice.edits:
            buttons.change(posts, notice.key, card, soon=notice.soon)
            if notice.joined and approvals.approval(tx, notice.approval).pinged_us:
                approvals.note(tx, notice.joined, pinged=True)
            return
        ping = sounds.audible(tx, config, chat, task.requester, notice.sound)
        if notice.approval and ping:
            approvals.note(tx, notice.approval, pinged=True)
        priority = None if ping else Priority.CARD
        card = sounds.titled(task, card) if ping else card
        posts.post(chat, card, key=notice.key, ping=ping, task=task.id, priority=priority)
        if notice.right is not None:
            asked = sounds.titled(task, notice.card)
            direct.ask(posts, config, self._direct, task, asked, key=notice.key, right=notice.right)


def _news(tx: Tx) -> int:
    """The number of the last event that somebody may have to hear of, or up to which everything is posted."""
    posted = int(settings.get(tx, CURSOR) or 0)
    return ledger.last_besides(tx, CommandGiven.KIND, posted) or posted


class _Tasks(dict[str, Task | None]):
    """Tasks by id, as this transaction sees them, with people's names in their reasons; ``None``: no such task."""

    def __init__(self, tx: Tx, config: FleetConfig) -> None:
        super().__init__({"": None})
        self._tx, self._config = tx, config

    def __missing__(self, name: str) -> Task | None:
        self[name] = None
        with contextlib.suppress(Misused):
            task = tasks.task(self._tx, name)
            self[name] = replace(task, why=sounds.named(self._config, task.why))
        return self[name]


@contextlib.contextmanager
def _apart(posts: Posts, what: str, task: Task | None = None) -> Iterator[None]:
    """Skips what fails with a bug, so that everything else is posted. ``task``: its chat is told about the skip."""
    try:
        yield
    except (StoreUnavailable, LeadershipLost):
        raise
    except Exception:
        log.exception("internal error: %s is skipped", what)
        if task is not None and not card_rows.by_key(posts.tx, key := f"bug:{task.id}"):
            why = line(f"{what} cannot be shown; airboss.log has the details.")
            card = Card(line(f"{task.id} · internal error"), (why,), tone=Tone.BAD)
            posts.post(task.origin, card, key=key, task=task.id, priority=Priority.CARD)
