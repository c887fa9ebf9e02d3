"""When a schedule is due: once, at an interval, or by the calendar. Pure data, kept in the store as JSON."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec
from msgspec import Struct

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US


class Weekday(IntEnum):
    """Numbered as ``date.isoweekday``. Cron's numbers are translated where cron is read, and nowhere else."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


WEEKDAYS: Final = (Weekday.MONDAY, Weekday.TUESDAY, Weekday.WEDNESDAY, Weekday.THURSDAY, Weekday.FRIDAY)
WEEKEND: Final = (Weekday.SATURDAY, Weekday.SUNDAY)


class Once(Struct, frozen=True, tag="once"):
    """One instant, in microseconds since the epoch."""

    at_us: int


class Every(Struct, frozen=True, tag="every"):
    """Each time that ``period_us`` has gone by, counted from ``anchor_us``: elapsed time, whatever clocks show."""

    period_us: int
    anchor_us: int


class Calendar(Struct, frozen=True, tag="calendar"):
    """Local times: every hour of ``hours`` at every minute of ``minutes``, on the days that match.

    An empty tuple is any value, so no hour named means every hour of elapsed time. A day must match ``months``, and
    of ``days`` (of the month) and ``weekdays`` either, as in cron, or both where ``both`` says so.
    """

    minutes: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    days: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    weekdays: tuple[Weekday, ...] = ()
    both: bool = False


Spec = Once | Every | Calendar

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER: msgspec.json.Decoder[Spec] = msgspec.json.Decoder(Spec)


def dump(spec: Spec) -> str:
    """The form that the store keeps."""
    return _ENCODER.encode(spec).decode()


def load(text: str) -> Spec:
    """The inverse of :func:`dump`. Raises ``ValueError`` for anything else."""
    return _DECODER.decode(text)
