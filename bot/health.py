"""What is wrong with the controller itself: its store, its components, an edit of ``fleet.toml``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from types import MappingProxyType
from typing import Any, Final, TypeVar

from bot import words
from bot.cards import Card, Tone, line, one_line
from bot.outbox.contact import Contact
from bot.outbox.posting import Posts
from bot.reload import LiveConfig
from fleet.config.home import FLEET_FILE
from fleet.errors import StoreUnavailable
from fleet.ports import Clock
from fleet.store import tasks
from fleet.supervise import Health, Supervisor, alongside

_log = logging.getLogger(__name__)
T = TypeVar("T")

_RECENT_US: Final = 3_600_000_000
"""How long after its death a restarted component is still reported."""

_WORTH_REPORTING_US: Final = 30_000_000
_CHAT_AWAY_SECONDS: Final = 60.0

CHAT: Final = "chat "
"""Prefix of the cause for a platform that does not answer."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The controller that runs here: its version, since when, and the names that it has from ``.env``."""

    version: str
    since_us: int
    secrets: tuple[str, ...] = ()

    def line(self, zone: tzinfo = UTC) -> str:
        """``airboss 0.1.0 since 2026-11-28 14:02 UTC``."""
        return f"airboss {self.version} since {words.day(self.since_us, zone)}"


@dataclass(frozen=True, slots=True)
class Troubles:
    """One line for each. ``store``: since when the store is unavailable; empty while it answers."""

    store: str = ""
    others: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All troubles, the most serious first."""
        return (self.store, *self.others) if self.store else self.others


class StoreWatch:
    """Since when the store is unavailable, as a regular write notices. ``since_us``: 0 while it answers."""

    def __init__(self, clock: Clock, silent_s: float = 10.0) -> None:
        self._clock, self._silent_s = clock, silent_s
        self.since_us = 0
        self.cause = ""

    def failed(self, error: StoreUnavailable) -> None:
        """A write failed."""
        if not self.since_us:
            _log.warning("the store is unavailable: %s", error.cause)
        self.since_us, self.cause = self.since_us or self._clock.now_us(), error.cause

    async def answer_of(self, write: Coroutine[Any, Any, T]) -> T:
        """What the regular write gives. A server that hangs takes it and says nothing: it counts as away then."""
        async with alongside(write, "regular write") as asked:
            await asyncio.wait({asked}, timeout=self._silent_s)
            if not asked.done():
                cause = f"it has not answered for {self._silent_s:.0f} s"
                self.failed(StoreUnavailable(attempted="write to the store", cause=cause))
            return await asked

    def answered(self) -> None:
        """A write succeeded."""
        if self.since_us:
            _log.info("the store is available again")
        self.since_us, self.cause = 0, ""

    def report(self, posts: Posts) -> None:
        """Tells the chats of all open tasks that the store was unavailable, if it took long. Call it in the first
        write that succeeds, before :meth:`answered`."""
        now_us = self._clock.now_us()
        if not self.since_us or now_us - self.since_us < _WORTH_REPORTING_US:
            return
        card = Card(
            line(f"The store was unavailable from {words.span(self.since_us, now_us)}"),
            (line(one_line(self.cause, 120)), line("All work waited and continues now.")),
            tone=Tone.WAITING,
        )
        for chat in dict.fromkeys(task.origin for task in tasks.open_tasks(posts.tx)):
            posts.post(chat, card)


class ControllerHealth:
    """Collects what is wrong now. ``redact`` is applied to the text of errors; ``chats``: whether each answers.
    ``elsewhere``: what other controllers of the store said of themselves, a line for each cause."""

    def __init__(
        self,
        supervisor: Supervisor,
        store: StoreWatch,
        config: LiveConfig,
        redact: Callable[[str], str] | None,
        chats: Mapping[str, Contact] = MappingProxyType({}),
    ) -> None:
        self.elsewhere: Mapping[str, str] = MappingProxyType({})
        self._chats = chats
        self._supervisor, self._store, self._config = supervisor, store, config
        self._redact = redact or (lambda text: text)

    def troubles(self) -> Troubles:
        """What a person should know; no lines while nothing is wrong."""
        store = ""
        if self._store.since_us:
            store = f"the store has been unavailable since {words.clock(self._store.since_us)}: {self._store.cause}"
        return Troubles(self._redact(store), tuple(self.causes().values()))

    def causes(self) -> dict[str, str]:
        """What is wrong besides the store: a line for each cause, by its name."""
        return {**self.own(), **self.elsewhere}

    def own(self) -> dict[str, str]:
        """What is wrong with this controller alone."""
        found: dict[str, str] = {}
        if self._config.invalid_us:
            since = words.clock(self._config.invalid_us)
            why = self._config.invalid.replace(f"{self._config.path}:", "line ")  # a phone shows 120 characters
            found[FLEET_FILE] = self._redact(f"fleet.toml: invalid since {since}: {why}; the last valid one runs")
        now_us = self._supervisor.clock.now_us()
        for name, contact in self._chats.items():
            if contact.away_seconds >= _CHAT_AWAY_SECONDS:
                since = words.clock(now_us - int(contact.away_seconds * 1_000_000))
                found[CHAT + name] = self._redact(
                    f"{name.capitalize()} has not answered since {since}: {contact.why}"
                )
        for health in self._supervisor.health():
            if _is_ill(health, now_us):
                found[f"component {health.name}"] = self._redact(_died(health))
        return found


def _is_ill(health: Health, now_us: int) -> bool:
    return health.deaths > 0 and (not health.running or now_us - health.died_us < _RECENT_US)


def _died(health: Health) -> str:
    times = "once" if health.deaths == 1 else f"{health.deaths} times, last"
    now = "is running again" if health.running else "will restart soon"
    return f"{health.name} failed {times} at {words.clock(health.died_us)} and {now}: {health.error}"
