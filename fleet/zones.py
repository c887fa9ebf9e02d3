"""Time zones by name: those that are known here, and the machine's own."""

from __future__ import annotations

import difflib
import os
import re
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

_LOCALTIME: Final = Path("/etc/localtime")
_DATABASE: Final = "zoneinfo/"
_ALL_YEAR: Final = {"EST": "America/New_York", "MST": "America/Denver"}
"""Names of winter times that are zones without a summer time, and what is meant by them."""


def known_zone(name: str) -> str:
    """The zone of this name, however it is capitalised; empty when there is none."""
    return _names().get(name.lower(), "")


def zone_of_clock(name: str) -> str:
    """As :func:`known_zone`, of the clock that somebody lives by: none of a winter time all year."""
    found = known_zone(name)
    return "" if found in _ALL_YEAR else found


def zone_of_city(name: str) -> str:
    """The zone of a city; empty when none is called so."""
    wanted = name.lower().replace(" ", "_").rsplit("/", 1)[-1]
    found = (zone for folded, zone in _names().items() if "/" in folded and folded.rsplit("/", 1)[-1] == wanted)
    return next(found, "")


def nearest_zone(name: str) -> str:
    """The zone that was probably meant: one of that city, or one that is spelled almost so; empty: none is near."""
    wanted = name.lower().replace(" ", "_")
    if name.upper() in _ALL_YEAR:
        return _ALL_YEAR[name.upper()]
    if re.match(r"(utc|gmt)?_?[+-]", wanted):
        return ""  # an offset, which is no zone's all year
    if city := zone_of_city(name):
        return city
    close = difflib.get_close_matches(wanted, _names(), n=1, cutoff=0.7)
    return _names()[close[0]] if close else ""


def machine_zone() -> str:
    """The zone that this machine's clocks show; UTC when it does not say."""
    told = os.environ.get("TZ", "").removeprefix(":")
    linked = str(_LOCALTIME.resolve()) if _LOCALTIME.is_symlink() else ""
    for name in (told, linked.rpartition(_DATABASE)[2]):
        if name and _exists(name):
            return name.removeprefix("Etc/") if name == "Etc/UTC" else name
    return "UTC"


def wrong_zone() -> str:
    """What is wrong with TZ, for whoever starts the controller; empty: nothing. A wrong one is passed over."""
    told = os.environ.get("TZ", "").removeprefix(":")
    if not told or _exists(told):
        return ""
    near = nearest_zone(told)
    meant = f" (perhaps {near} is meant)" if near else ""
    return f"TZ={told} is no time zone here{meant}: days begin and schedules run by {machine_zone()}"


def _exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@cache
def _names() -> dict[str, str]:
    return {zone.lower(): zone for zone in sorted(available_timezones())}
