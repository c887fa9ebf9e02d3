"""Formats times, money and names for a phone: short, and the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from itertools import islice


def duration(us: int) -> str:
    """``42 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 4 h``."""
    seconds = max(0, us) // 1_000_000
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86_400:
        return f"{seconds // 3_600} h {seconds % 3_600 // 60:02d} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3_600} h"


def about(us: int) -> str:
    """``42 s``, ``3 min``, ``2 h 10 min``, ``3 d 4 h``: for short lines."""
    return f"{us // 60_000_000} min" if 60_000_000 <= us < 3_600_000_000 else duration(us)


def money(udollar: int) -> str:
    """Micro-dollars as dollars: cents from one dollar on, else enough digits to see the amount."""
    if udollar and udollar < 10_000:
        return f"${udollar / 1_000_000:.4f}"
    return f"${udollar / 1_000_000:.2f}"


def size(count: int) -> str:
    """``640 MB``, ``1.2 GB``."""
    if count < 1 << 30:
        return f"{count >> 20} MB"
    return f"{count / (1 << 30):.1f} GB"


def clock(us: int, zone: tzinfo = UTC) -> str:
    """Hour and minute, with the zone."""
    return datetime.fromtimestamp(us / 1_000_000, zone).strftime("%H:%M %Z")


def day(us: int, zone: tzinfo = UTC) -> str:
    """Date, hour and minute, with the zone."""
    return datetime.fromtimestamp(us / 1_000_000, zone).strftime("%Y-%m-%d %H:%M %Z")


def span(from_us: int, upto_us: int, zone: tzinfo = UTC) -> str:
    """A period as people write it: the date and the zone once if both times have the same."""
    (first_day, first_time, first_zone), last = day(from_us, zone).split(" ", 2), day(upto_us, zone)
    last_day, _, last_time = last.partition(" ")
    first = f"{first_day} {first_time}" + ("" if last.endswith(f" {first_zone}") else f" {first_zone}")
    return f"{first} to {last_time if first_day == last_day else last}"


def count(number: int, singular: str, plural: str = "") -> str:
    """``1 turn``, ``2 turns``."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def count_of(number: int, singular: str, plural: str = "") -> str:
    """The same with thousands set apart: ``21,875 tool calls``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def some(names: Iterable[str], most: int) -> str:
    """``t1, t2, …``: the first ones."""
    first = list(islice(names, most + 1))
    return ", ".join(first[:most]) + (", …" if len(first) > most else "")


def short(commit: str) -> str:
    """A commit, abbreviated."""
    return commit[:10]


def change(files: int, added: int, removed: int) -> str:
    """``2 files +10 −3``; a change of modes, names or binary files alone has no lines to count."""
    return f"{count(files, 'file')} " + (f"+{added} −{removed}" if added or removed else "(no lines of text)")
