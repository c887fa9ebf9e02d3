"""What tells people how the fleet is, beside the notices of what happened: live cards, alarms, reminders."""

from __future__ import annotations

from collections.abc import Collection

from bot.base import Base
from bot.health import ControllerHealth
from bot.outbox.posting import Outbox
from bot.running_fleet import RunningFleet
from bot.telling.alarms import Alarms, Causes
from bot.telling.asked_reviews import AskedReviews
from bot.telling.live import LiveStatus
from bot.telling.locked import StuckLocks
from bot.telling.log_card import LiveLogs
from bot.telling.newer import NewerAgents
from bot.telling.reminders import Reminders
from fleet.flight.services import Services
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
    return {
        "status": LiveStatus(outbox, config, control, clock).run,
        "logs": LiveLogs(outbox, config, clock, home).run,
        "alarms": Alarms(outbox, config, clock, causes, direct).run,
        "newer agents": NewerAgents(outbox, config, clock, control.machines, direct).run,
        "stuck locks": StuckLocks(outbox, config, clock).run,
        "reviews": AskedReviews(outbox, config, base.env, base.repository, base.executors).run,
        "reminders": Reminders(outbox, config, clock, home / "files", direct).run,
    }
