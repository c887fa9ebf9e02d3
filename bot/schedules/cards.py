"""Schedules as a person reads them: when in words, the next times in their own zone, and the buttons."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Final
from zoneinfo import ZoneInfo

from bot import words
from bot.cards import Action, Card, Line, Tone, footed, line, one_line
from fleet.budgets import limits
from fleet.budgets import words as amount
from fleet.model import Isolation
from fleet.schedule.model import Job, Overlap, Schedule, ScheduleState, Work
from fleet.schedule.spec import HOUR_US, MINUTE_US, WEEKDAYS, WEEKEND, Calendar, Every, Once, Spec, Weekday, dump
from fleet.schedule.times import local_time, upcoming

NEXT: Final = 3
_TIMES_SHOWN: Final = 4
_FAR_US: Final = 300 * 24 * HOUR_US

__all__ = ["NEXT", "described", "moment", "plain", "schedule_card", "schedule_line"]


def moment(us: int, zone: ZoneInfo, now_us: int) -> str:
    """``Mon 30 Nov 02:00``; with its year when that is not soon."""
    here = local_time(us, zone)
    return here.strftime(f"%a {here.day} %b{' %Y' if abs(us - now_us) > _FAR_US else ''} %H:%M")


def described(spec: Spec, zone: ZoneInfo, now_us: int) -> str:
    """When it is due, in words: what was understood, not what was typed."""
    match spec:
        case Once(at_us=at_us):
            return f"once, {moment(at_us, zone, now_us)}"
        case Every(period_us=period):
            return f"every {_span(period)}"
        case Calendar():
            days, times = _days(spec), _times(spec)
            if not times.startswith("every "):
                return f"{days} {times}"
            return times if days == "every day" else f"{days}, {times}"


def _span(period_us: int) -> str:
    for unit_us, unit in ((HOUR_US, "hour"), (MINUTE_US, "min")):
        if period_us % unit_us == 0:
            count = period_us // unit_us
            return (
                ("minute" if unit == "min" else unit)
                if count == 1
                else words.count(count, unit, unit + "s" * (unit == "hour"))
            )
    return words.duration(period_us)


def _days(spec: Calendar) -> str:
    named = tuple(sorted(spec.weekdays))
    week = "every " + {
        (): "day",
        WEEKDAYS: "weekday",
        WEEKEND: "Saturday and Sunday",
    }.get(named, ", ".join(Weekday(day).name.capitalize() for day in named))
    month = f"day {', '.join(map(str, spec.days))} of the month" if spec.days else ""
    if month and named:
        found = f"{month} {'and' if spec.both else 'or'} {week}"
    else:
        found = f"every {month}" if month else week
    return found + (f" in months {', '.join(map(str, spec.months))}" if spec.months else "")


def _times(spec: Calendar) -> str:
    times = [f"{hour:02d}:{minute:02d}" for hour, minute in product(spec.hours, spec.minutes)]
    if 0 < len(times) <= _TIMES_SHOWN:
        return f"at {', '.join(times)}"
    steps = {later - before for before, later in pairwise((*spec.minutes, 60 + next(iter(spec.minutes), 0)))}
    if not spec.hours and (not spec.minutes or (len(steps) == 1 and not spec.minutes[0])):
        return f"every {_span((steps.pop() if steps else 1) * MINUTE_US)}"
    minutes = f"at minute {', '.join(map(str, spec.minutes))}" if spec.minutes else "every minute"
    return f"{minutes} of " + (f"hour {', '.join(map(str, spec.hours))}" if spec.hours else "every hour")


def next_line(schedule: Schedule, mine: ZoneInfo, now_us: int) -> Line:
    """The next three runs, in the reader's zone."""
    if schedule.state is not ScheduleState.ACTIVE:
        return line(f"{schedule.state}", f": {schedule.why}" if schedule.why else "")
    times = upcoming(schedule.spec, ZoneInfo(schedule.zone), max(now_us, schedule.next_us - 1), NEXT)
    return line(f"Next: {' · '.join(moment(us, mine, now_us) for us in times)}")


def what_line(schedule: Schedule) -> Line:
    """The job and, for a task, its words."""
    work = schedule.work
    if work.job is Job.DIGEST:
        return line("posts the digest")
    where = f" on {work.machine}" if work.machine else ""
    return line(f"{work.job} in {work.repo} with {work.agent}{where}: “", one_line(work.prompt, 80), "”")


def schedule_card(
    schedule: Schedule, title: str, mine: ZoneInfo, now_us: int, isolation: Isolation, *, every: bool
) -> Card:
    """One schedule: what was understood, the next three runs, how the last one went. ``every``: all its buttons."""
    zone = ZoneInfo(schedule.zone)
    when = f"{described(schedule.spec, zone, now_us)} · {schedule.zone}"
    lines = [line(when), what_line(schedule), next_line(schedule, mine, now_us)]
    if schedule.work.locks:
        lines.append(line("Locks first: ", one_line(", ".join(want.text for want in schedule.work.locks), 80)))
    if options := _options(schedule.work):
        lines.append(line(one_line(options, 120)))
    if schedule.overlap is Overlap.QUEUE:
        lines.append(line("A run that is due while the last one is open waits for it."))
    if last := last_run(schedule):
        lines.append(line(last))
    times = f"times in {mine.key}"
    return Card(
        line(f"{schedule.id} · {title}"),
        tuple(lines),
        actions=buttons(schedule, every=every),
        footer=footed(isolation, times),
        tone=Tone.WAITING if schedule.state is ScheduleState.PAUSED else Tone.PLAIN,
    )


def _options(work: Work) -> str:
    """What each of its tasks may use, needs and asks for."""
    most = ", ".join(amount(measure, limit) for measure, limit in limits(work.budget))
    parts = (("at most ", most), ("needs ", ", ".join(work.needs)), ("model ", work.model))
    said = " · ".join(label + value for label, value in parts if value)
    return f"Each task: {said}" if said else ""


def schedule_line(schedule: Schedule, mine: ZoneInfo, now_us: int) -> Line:
    """One schedule in a list."""
    zone = ZoneInfo(schedule.zone)
    when = described(schedule.spec, zone, now_us)
    following = moment(schedule.next_us, mine, now_us) if schedule.next_us else str(schedule.state)
    last = last_run(schedule)
    what = ("digest",) if schedule.work.job is Job.DIGEST else (one_line(schedule.work.prompt, 30),)
    return line(
        f"{schedule.id} · {when} · next {following}"
        if schedule.next_us
        else f"{schedule.id} · {when} · {following}",
        " · ",
        *what,
        f" · {last}" if last else "",
    )


def last_run(schedule: Schedule) -> str:
    """How the last run went, or is going; and what was skipped for it."""
    parts = []
    if schedule.open_task:
        parts.append(f"{schedule.open_task} is open")
    if schedule.last_task:
        parts.append(f"last: {schedule.last_task} {schedule.last_result}")
    if schedule.skipped:
        parts.append(f"{schedule.skipped} skipped")
    return " · ".join(parts)


def buttons(schedule: Schedule, *, every: bool) -> tuple[Action, ...]:
    """What can be done with it: nothing once it is over. A digest's hour is set by ``/digest daily``."""
    if schedule.state in (ScheduleState.DONE, ScheduleState.DELETED):
        return ()
    paused = schedule.state is ScheduleState.PAUSED
    first = (
        Action("Resume", f"/schedule resume {schedule.id}", once=False)
        if paused
        else Action("Pause", f"/schedule pause {schedule.id}", once=False)
    )
    last = Action("Delete", f"/schedule delete {schedule.id}")
    if not every or schedule.work.job is Job.DIGEST:
        return (first, last)
    now = Action("Run now", f"/schedule now {schedule.id}", once=False)
    edit = Action("Edit", f"/schedule edit {schedule.id}", once=False)
    return (first, now, edit, last)


def plain(schedule: Schedule, now_us: int) -> dict[str, object]:
    """For scripts: as ``docs/schema/schedules.json`` says."""
    zone = ZoneInfo(schedule.zone)
    after = max(now_us, schedule.next_us - 1)
    times = upcoming(schedule.spec, zone, after, NEXT) if schedule.next_us else []
    work = schedule.work
    return {
        "id": schedule.id,
        "state": str(schedule.state),
        "why": schedule.why,
        "owner": schedule.owner,
        "chat": {
            "adapter": schedule.channel.adapter,
            "chat": schedule.channel.chat,
            "thread": schedule.channel.thread,
        },
        "when": described(schedule.spec, zone, now_us),
        "zone": schedule.zone,
        "next": [local_time(us, zone).isoformat() for us in times],
        "job": str(work.job),
        "repo": work.repo,
        "agent": work.agent,
        "machine": work.machine,
        "prompt": work.prompt,
        "locks": [str(want) for want in work.locks],
        "budget": {str(measure): limit for measure, limit in limits(work.budget)},
        "needs": list(work.needs),
        "model": work.model,
        "overlap": str(schedule.overlap),
        "open_task": schedule.open_task,
        "last_task": schedule.last_task,
        "last_result": schedule.last_result,
        "bad_ends": schedule.bad_ends,
        "skipped": schedule.skipped,
        "spec": dump(schedule.spec),
    }
