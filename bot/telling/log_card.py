"""The card of /logs: a task's last lines. While the task is open it stays current for a while, by edits alone, so
nothing makes a sound.

The store knows which cards are live, so a restart goes on with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from bot import words
from bot.cards import Action, Card, footed, line
from bot.outbox.posting import Outbox, Posts
from bot.telling import gate_tail, sounds
from bot.telling.story import last_lines
from fleet.config import FleetConfig
from fleet.model import ENDS, ChatRef, Isolation, Task
from fleet.store import sessions, tasks
from fleet.store.chat import cards as card_rows
from fleet.store.chat import settings
from fleet.store.chat.settings import OfChat
from fleet.store.core import Tx
from fleet.store.recent import last_events
from fleet.untrusted import Untrusted

EVERY_SECONDS: Final = 10.0
LIVES_US: Final = 10 * 60_000_000
MOST: Final = 8
"""Cards that are live at once; the oldest stops first."""

SHOWN_LINES: Final = 24
SHOWN_CHARACTERS: Final = 2_400
_PREFIX: Final = f"{OfChat.LIVE_LOG}:"


class Freshness(Enum):
    """How a card stays current: by itself, when somebody asks, or not at all."""

    LIVE = auto()
    STOPPED = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class LiveLog:
    """A card that is kept current, in the times of ``zone``."""

    task: str
    chat: ChatRef
    zone: str
    until_us: int

    @property
    def stored(self) -> str:
        return _PREFIX + json.dumps([self.task, self.chat.adapter, self.chat.chat, self.chat.thread])

    @property
    def key(self) -> str:
        """The key of its card."""
        return f"log:{self.task}"


def begin(posts: Posts, live: LiveLog, card: Card, pressed: int) -> None:
    """Puts the card into the chat, and keeps it current from now on. ``pressed``: the row of the card whose button
    asked for it, which then is that card."""
    posted = card_rows.at(posts.tx, live.key, live.chat)
    settings.put(posts.tx, live.stored, json.dumps({"zone": live.zone, "until_us": live.until_us}))
    if posted is not None and pressed == posted.put:
        posts.repost(live.chat, card, key=live.key, soon=True)
        return
    if posted is not None and posted.card_json:
        old = Card.from_json(posted.card_json)
        posts.repost(live.chat, replace(old, lines=(line("Newer lines are below."),), actions=()), key=live.key)
        card_rows.set_aside(posts.tx, posted)
    posts.post(live.chat, card, key=live.key, task=live.task)


def log_card(
    task: Task, lines: Sequence[str], freshness: Freshness, *, until: str = "", isolation: Isolation, count: int = 0
) -> Card:
    """The last lines. ``until``: the time of day when it stopped or stops. ``count``: how many lines there are."""
    tail = tail_of(lines)
    much = f"{words.count(count, 'line')}; the last {len(tail)}" if count else f"The last {len(tail)}"
    said = f"{much}:" if tail else "No output yet."
    again = Action("Keep updating", f"/logs {task.id}", once=False)
    file = Action("As a file", f"/logs {task.id} file", once=False)
    actions: tuple[Action, ...] = (file,)
    match freshness:
        case Freshness.LIVE:
            more = f"Updates itself until {until}."
        case Freshness.STOPPED:
            more, actions = f"Not updated since {until}.", (again, file)
        case Freshness.OVER:
            more = f"The task is {task.state}: nothing follows."
    return Card(
        line(f"{task.id} · log"),
        (line(said), line(more)),
        body=Untrusted("\n".join(tail)[-SHOWN_CHARACTERS:]) if tail else None,
        actions=actions,
        footer=footed(isolation),
    )


def tail_of(lines: Sequence[str]) -> list[str]:
    """The last lines that fit a message; if the last line alone does not fit, its end is shown."""
    fit, room = 0, SHOWN_CHARACTERS
    for text in reversed(lines[-SHOWN_LINES:]):
        room -= len(text) + 1
        if room < 0 and fit:
            break
        fit += 1
    return list(lines[len(lines) - fit :])


@dataclass(slots=True)
class LiveLogs:
    """The live log cards of one controller; :meth:`refresh` edits those that would say something new."""

    outbox: Outbox
    config: Callable[[], FleetConfig]
    home: Path
    _seen: dict[str, tuple[object, ...]] = field(default_factory=dict)

    async def refresh(self) -> int:
        """Returns how many cards were edited."""
        now, every = await self.outbox.store.read(lambda tx: (tx.now_us(), _every(tx)))
        every.sort(key=lambda live: live.until_us, reverse=True)
        self._seen = {live.stored: seen for live in every if (seen := self._seen.get(live.stored))}
        edited = 0
        for at, live in enumerate(every):
            edited += await self._refreshed(live, stops=live.until_us <= now or at >= MOST, now=now)
        return edited

    async def _refreshed(self, live: LiveLog, *, stops: bool, now: int) -> bool:
        store = self.outbox.store
        zone = ZoneInfo(live.zone)
        named = partial(sounds.named, self.config())
        task, seen = await store.read(lambda tx: _state(tx, live.task))
        running = await gate_tail.of(store, self.home, task)
        over = task.state in ENDS
        marker = (*seen, tuple(running))
        if self._seen.get(live.stored) == marker and not (stops or over):
            return False
        lines, isolation = await store.read(lambda tx: self._read(tx, task, zone, named), long=True)
        freshness = Freshness.OVER if over else Freshness.STOPPED if stops else Freshness.LIVE
        until = words.clock(min(now, live.until_us) if stops else live.until_us, zone)[:5]
        card = log_card(task, [*lines, *running], freshness, until=until, isolation=isolation)

        def edit(tx: Tx) -> None:
            if settings.get(tx, live.stored):
                self.outbox.open(tx).repost(live.chat, card, key=live.key)
            if over or stops:
                settings.put(tx, live.stored, "")

        await store.write(edit)
        self._seen[live.stored] = marker
        return True

    def _read(self, tx: Tx, task: Task, zone: tzinfo, named: Callable[[str], str]) -> tuple[list[str], Isolation]:
        last = sessions.of_task(tx, task.id)
        return last_lines(tx, task.id, zone, named), last[-1].isolation if last else self.config().isolation


def _every(tx: Tx) -> list[LiveLog]:
    found = []
    for key, stored in settings.beginning(tx, _PREFIX).items():
        task, adapter, chat, thread = json.loads(key.removeprefix(_PREFIX))
        raw = json.loads(stored)
        found.append(LiveLog(task, ChatRef(adapter, chat, thread), raw["zone"], raw["until_us"]))
    return found


def _state(tx: Tx, id_: str) -> tuple[Task, tuple[object, ...]]:
    """The task, and what is different when its log has more lines."""
    task = tasks.task(tx, id_)
    newest = last_events(tx, 1, task=id_)
    return task, (task.state, newest[-1].seq if newest else 0)
