"""The timer, and what it wakes: schedules, retention, hourly checkpoints."""

from __future__ import annotations

from bot.outbox.posting import Outbox
from bot.registry import Context
from bot.retention import Retention
from bot.schedules.beats import Beats
from fleet.model import ChatRef
from fleet.schedule.timer import Timer
from fleet.supervise import Work
from gates.witness.opening import Openings


def timed(timer: Timer, context: Context, outbox: Outbox, admins: ChatRef | None) -> dict[str, Work]:
    """The components, by name."""
    config, checkpoints = context.config, timer.clock("checkpoints")
    openings = Openings.of(context.store, config, context.home)
    return {
        "timer": timer.run,
        "schedules": Beats(context, outbox, timer.alarm("schedules"), admins).run,
        "retention": Retention(context.store, config, timer.clock("retention"), context.home).run,
        "checkpoints": lambda: openings.hourly(checkpoints),
    }
