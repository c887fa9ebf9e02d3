"""Whether a schedule may run as things are now: its owner's right, its repository, agent, machine and zone."""

from __future__ import annotations

from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fleet.config import FleetConfig
from fleet.model import PersonId
from fleet.schedule.model import Job, Schedule
from fleet.schedule.spec import MINUTE_US, Spec
from fleet.schedule.times import upcoming
from gates.people import Right, may, who

SHORT_US = 5 * MINUTE_US
"""A task more often than this needs a yes."""

_LOOKED_AT = 60


def right_of(job: Job) -> Right:
    """What the owner must be allowed to do."""
    return Right.SEE if job is Job.DIGEST else Right.RUN


def wrong(config: FleetConfig, schedule: Schedule) -> str:
    """Why it may not run now; empty when it may."""
    right = right_of(schedule.work.job)
    owner = who(config, PersonId.parse(schedule.owner))
    if owner is None:
        return f"its owner {schedule.owner} is not in fleet.toml any more"
    if not may(owner, right):
        return f"{owner.name} no longer has the right to {right}"
    try:
        ZoneInfo(schedule.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"this machine does not know the time zone {schedule.zone}"
    if schedule.work.job is Job.DIGEST:
        return ""
    for what, name, known in (
        ("repository", schedule.work.repo, config.repos),
        ("agent", schedule.work.agent, config.agents),
        ("machine", schedule.work.machine, {*config.machines, *config.pools}),
    ):
        if name and name not in known:
            return f"fleet.toml no longer has the {what} {name}"
    if schedule.work.model and schedule.work.model not in config.agents[schedule.work.agent].choices:
        return f"fleet.toml no longer allows the model {schedule.work.model} for {schedule.work.agent}"
    return ""


def shortest_gap_us(spec: Spec, zone: ZoneInfo, after_us: int) -> int:
    """The shortest time between two of the next times; 0 when there is only one."""
    times = upcoming(spec, zone, after_us, _LOOKED_AT)
    return min((later - before for before, later in pairwise(times)), default=0)
