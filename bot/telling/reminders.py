"""Reminds a person of what waits for them: before it expires, and when its first message made no sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from bot.outbox.posting import Outbox
from bot.telling import asks, buttons, sounds, waiting
from bot.telling.sounds import Sound
from fleet.config import FleetConfig
from fleet.ports import Clock
from fleet.store import approvals, tasks
from fleet.store.approvals import Approval
from fleet.store.core import Tx

_EVERY_SECONDS: Final = 20.0


class Reminders:
    """``files`` is where the documents of long requests are written."""

    def __init__(self, outbox: Outbox, config: Callable[[], FleetConfig], clock: Clock, files: Path) -> None:
        self._outbox, self._store = outbox, outbox.store
        self._config, self._clock, self._files = config, clock, files

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(_EVERY_SECONDS)

    async def look(self) -> None:
        """Reminds of everything that is due now, each once."""
        if await self._store.read(lambda tx: any(self._due(tx, approval) for approval in approvals.waiting(tx))):
            await self._store.write(self._remind)

    def _due(self, tx: Tx, asked: Approval) -> bool:
        """It expires soon, or it made no sound so far and may make one now."""
        near = 0 < asked.expires_us <= tx.now_us() + asks.REMIND_US
        if near and not asked.reminded_us:
            return True
        return not asked.pinged_us and asked.opened_us < tx.now_us() - _HEARD_US and self._audible(tx, asked)

    def _audible(self, tx: Tx, asked: Approval) -> bool:
        task = tasks.task(tx, asked.task)
        return sounds.audible(tx, self._config(), task.origin, task.requester, Sound.WAITS)

    def _remind(self, tx: Tx) -> None:
        config, posts = self._config(), self._outbox.open(tx)
        for asked in approvals.waiting(tx):
            if not self._due(tx, asked):
                continue
            task = tasks.task(tx, asked.task)
            context = waiting.ask_context(tx, config, task, asked, self._files)
            ping = self._audible(tx, asked)
            card = sounds.addressed(config, asks.reminder_card(tx, task, asked, context))
            buttons.supersede(posts, asks.reminder_key(asked), task.origin)
            posts.post(task.origin, card, key=asks.reminder_key(asked), ping=ping, task=task.id)
            near = 0 < asked.expires_us <= tx.now_us() + asks.REMIND_US
            approvals.note(tx, asked.id, pinged=ping, reminded=near)


_HEARD_US: Final = 60_000_000
"""A question asked less than this ago is about to make its own sound."""
