"""One line of what deserves a look: in the daily post and in ``/digest``."""

from __future__ import annotations

from typing import Final

from bot import words
from bot.cards import Line, line
from fleet.schedule.model import ScheduleState
from fleet.store import approvals, schedules
from fleet.store.core import Tx
from fleet.store.schedules import BAD_ENDS

_NAMED: Final = 3


def look_at(tx: Tx) -> Line | None:
    """What waits for a person, else a schedule that is paused, else one whose last run ended badly."""
    if waiting := len(approvals.waiting(tx)):
        return line(f"Look at: {words.count(waiting, 'request')} waiting for you (/waiting).")
    listed = schedules.listed(tx)
    if paused := [schedule.id for schedule in listed if schedule.state is ScheduleState.PAUSED]:
        more = f" and {len(paused) - _NAMED} more" if len(paused) > _NAMED else ""
        return line(f"Look at: {', '.join(paused[:_NAMED])}{more} paused (/schedules).")
    bad = next((schedule for schedule in listed if schedule.last_result in map(str, BAD_ENDS)), None)
    return line(f"Look at: {bad.id}, whose last run {bad.last_task} ended as {bad.last_result}.") if bad else None
