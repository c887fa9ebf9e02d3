"""What tests of schedules share: a clock that they set, and what a look at it brings."""

from __future__ import annotations

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

from bot.cards import Card, shown
from fleet.events import ScheduleDue
from fleet.model import TaskState
from fleet.schedule.model import Schedule
from fleet.schedule.times import instant
from fleet.store import ledger, schedules, tasks
from tests.chat_house import House

UTC = ZoneInfo("UTC")
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NIGHTLY = "/schedule every weekday 02:00 Europe/Berlin run fix the flaky tests"


class SetClock:
    """A clock that stands still until a test moves it. It begins on a Saturday."""

    def __init__(self) -> None:
        self.now = instant(datetime.fromisoformat("2026-11-28T18:30"), UTC)

    def now_us(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def at(self, text: str) -> None:
        self.now = instant(datetime.fromisoformat(text), UTC)


def text(card: Card) -> str:
    return "\n".join([shown(card.title), *map(shown, card.lines), card.footer])


def told(there: House, title: str) -> str:
    """The newest card of that title: a task's card may be redrawn after it at any time."""
    return next(text(sent.card) for sent in reversed(there.phone.sent) if shown(sent.card.title) == title)


async def one(there: House, named: str = "s1") -> Schedule:
    return await there.store.read(lambda tx: schedules.find(tx, named))


async def end(there: House, task: str, state: TaskState) -> None:
    await there.store.write(lambda tx: tasks.move(tx, task, state, "", "airboss"))
    await there.settle()


async def look(there: House) -> list[str]:
    """A look at what is due; the titles of the cards that it brought, redrawn tasks left out."""
    before = len(there.phone.sent)
    await there.beats.look()
    await there.settle()
    new = [sent for sent in there.phone.sent[before:] if not (sent.edits and sent.key.startswith("task:"))]
    return [shown(sent.card.title) for sent in new]


async def due(there: House) -> list[ScheduleDue]:
    found = await there.store.read(lambda tx: ledger.read(tx, kinds=(ScheduleDue.KIND,)))
    return [recorded.event for recorded in found if isinstance(recorded.event, ScheduleDue)]
