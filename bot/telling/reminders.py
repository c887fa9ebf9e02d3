"""Reminds people of what waits for them: before it expires, and when its first message made no sound. Everyone who
may release a held change is reminded after four hours and then each morning, in their own quiet hours never.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from bot.outbox.posting import Outbox, Posts
from bot.telling import asks, buttons, causes, direct, mutes, sounds, waiting
from bot.telling.sounds import Sound
from fleet.config import FleetConfig
from fleet.model import ChatRef, Task
from fleet.store import approvals, tasks
from fleet.store.approvals import Approval
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx
from fleet.store.states import ApprovalKind
from gates.people import Right

EVERY_SECONDS: Final = 20.0

_HEARD_US: Final = 60_000_000
"""A question asked less than this ago is about to make its own sound."""

_FIRST_US: Final = 4 * 3_600_000_000
_MORNING: Final = 8


def next_reminder_us(opened_us: int, last_us: int, zone: ZoneInfo) -> int:
    """When to remind of a held change: four hours after it was asked, then at eight each morning in ``zone``.

    ``last_us``: the last reminder, 0 before the first. Two are at least four hours apart.
    """
    if not last_us:
        return opened_us + _FIRST_US
    after = datetime.fromtimestamp((last_us + _FIRST_US) / 1_000_000, UTC).astimezone(zone)
    morning = after.replace(hour=_MORNING, minute=0, second=0, microsecond=0)
    if morning < after:
        morning = (morning.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=after.tzinfo)
    return int(morning.timestamp() * 1_000_000)


@dataclass(frozen=True, slots=True)
class Reminders:
    """``files`` is where the documents of long requests are written; ``direct_on`` are the platforms where a person
    has a private chat."""

    outbox: Outbox
    config: Callable[[], FleetConfig]
    files: Path
    direct_on: Collection[str] = ()

    async def look(self) -> None:
        """Reminds of everything that is due now, each once."""
        if await self.outbox.store.read(lambda tx: any(self._due(tx, asked) for asked in approvals.waiting(tx))):
            await self.outbox.store.write(self._remind)

    def _due(self, tx: Tx, asked: Approval) -> dict[ChatRef, str]:
        """The chats to remind now, and the person whom each reminder is for."""
        task = tasks.task(tx, asked.task)
        if asked.kind is ApprovalKind.STALL and causes.head(tx, causes.together(tx, asked)).id != asked.id:
            return {}  # another one's card asks for it
        found: dict[ChatRef, str] = {}
        if self._expires_or_was_silent(tx, asked, task) or self._waits_long(tx, asked, task.origin, task.requester):
            found[task.origin] = task.requester
        if asked.kind is ApprovalKind.HOLD:
            for person in direct.besides(tx, self.config(), Right.RELEASE, self.direct_on, task):
                if self._waits_long(tx, asked, person.chat, person.id):
                    found[person.chat] = person.id
        return found

    def _expires_or_was_silent(self, tx: Tx, asked: Approval, task: Task) -> bool:
        """It expires soon, or it made no sound so far and may make one now."""
        if _near(tx, asked) and not asked.reminded_us:
            return True
        silent = not asked.pinged_us and asked.opened_us < tx.now_us() - _HEARD_US
        return silent and sounds.audible(tx, self.config(), task.origin, task.requester, Sound.WAITS)

    def _waits_long(self, tx: Tx, asked: Approval, chat: ChatRef, person: str) -> bool:
        """A held change for which this person's next reminder is due, and neither they nor the chat wants quiet."""
        if asked.kind is not ApprovalKind.HOLD or mutes.muted(tx, chat):
            return False
        wish = sounds.wish_of(tx, self.config(), person)
        last_us = card_rows.posted_at(tx, asks.reminder_key(asked), chat)
        due_us = next_reminder_us(asked.opened_us, last_us, sounds.zone_of(tx, self.config(), person))
        return due_us <= tx.now_us() and not wish.quiet(tx.now_us())

    def _remind(self, tx: Tx) -> None:
        posts = self.outbox.open(tx)
        for asked in approvals.waiting(tx):
            task = tasks.task(tx, asked.task)
            for chat, person in self._due(tx, asked).items():
                ping = self._post(posts, task, asked, chat, person)
                if chat == task.origin:
                    approvals.note(tx, asked.id, pinged=ping, reminded=_near(tx, asked))

    def _post(self, posts: Posts, task: Task, asked: Approval, chat: ChatRef, person: str) -> bool:
        config, key = self.config(), asks.reminder_key(asked)
        context = waiting.ask_context(posts.tx, config, task, asked, self.files)
        card = sounds.titled(task, asks.reminder_card(posts.tx, task, asked, context, person))
        buttons.supersede(posts, key, chat)
        return sounds.post(posts, config, chat, card, key=key, task=task.id)


def _near(tx: Tx, asked: Approval) -> bool:
    return 0 < asked.expires_us <= tx.now_us() + asks.REMIND_US
