"""What tells people how the fleet is, beside the notices of what happened: live cards, alarms, reminders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from bot.base import Base
from bot.health import ControllerHealth
from bot.outbox.posting import Outbox
from bot.running_fleet import RunningFleet
from bot.telling import alarms, asked_reviews, live, locked, log_card, newer, reminders
from bot.telling.alarms import Alarms, Causes
from bot.telling.asked_reviews import AskedReviews
from bot.telling.live import LiveStatus
from bot.telling.locked import StuckLocks
from bot.telling.log_card import LiveLogs
from bot.telling.newer import NewerAgents
from bot.telling.reminders import Reminders
from fleet.flight.services import Services
from fleet.ports import Clock
from fleet.supervise import Work


def reporting(
    base: Base,
    services: Services,
    outbox: Outbox,
    control: RunningFleet,
    health: ControllerHealth,
    *,
    direct: Collection[str],
) -> dict[str, Work]:
    """The components, by name. ``direct``: the chats in which a person can be written to directly."""
    config, home, clock = base.config, base.home, services.clock
    causes = Causes(health, control.machines, clock, home, full=services.full_disks)
    reviews = AskedReviews(outbox, config, base.env, base.repository, base.executors)
    return {
        "status": every(live.EVERY_SECONDS, LiveStatus(outbox, config, control).refresh, clock, at_once=False),
        "logs": every(log_card.EVERY_SECONDS, LiveLogs(outbox, config, home).refresh, clock, at_once=False),
        "alarms": every(alarms.EVERY_SECONDS, Alarms(outbox, config, causes, direct).look, clock),
        "newer agents": every(
            newer.EVERY_SECONDS, NewerAgents(outbox, config, control.machines, direct).look, clock
        ),
        "stuck locks": every(locked.EVERY_SECONDS, StuckLocks(outbox, config).look, clock),
        "reviews": every(asked_reviews.EVERY_SECONDS, reviews.answer_all, clock),
        "reminders": every(reminders.EVERY_SECONDS, Reminders(outbox, config, home / "files", direct).look, clock),
    }


def every(seconds: float, look: Callable[[], Awaitable[object]], clock: Clock, *, at_once: bool = True) -> Work:
    """Work that looks again and again, until it is cancelled. ``at_once``: also at its start."""

    async def run() -> None:
        if not at_once:
            await clock.sleep(seconds)
        while True:
            await look()
            await clock.sleep(seconds)

    return run
