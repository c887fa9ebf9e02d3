"""``/digest daily``: a channel's own hour for the digest, or none. And a day's receipt, named by its date."""

from __future__ import annotations

import re
from dataclasses import replace

from bot.cards import Card, line
from bot.commands.common import reply
from bot.outbox.posting import Posts
from bot.parse import keyword
from bot.parse import words as split
from bot.registry import Call, Context, Effect
from bot.schedules import cards, daily
from bot.schedules.words import Need, read
from bot.telling import sounds
from fleet.errors import Misused, Refused
from fleet.events import DayIssued
from fleet.schedule.model import ScheduleState
from fleet.schedule.spec import Calendar
from fleet.store import schedules
from fleet.store.core import Tx
from fleet.store.recent import last_events
from gates.people import Right, demand

DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:-\d{1,18})?")
"""A day, and which of its receipts, by the last event of its range: each chat with a digest has its own."""

_EXAMPLE = "/digest daily 18:00 Europe/Berlin, or /digest daily off"
_SET = "set the daily digest"
_DAYS = 4_000


async def daily_digest(context: Context, call: Call) -> Effect:
    """Sets the hour of this channel's daily digest, shows it, or switches it off."""
    given, config, now = split(call.args)[1:], context.config(), context.clock.now_us()
    channel = call.message.chat
    if not call.message.private:
        demand(call.person, Right.RUN, attempted="set the digest of a shared chat")
    if not given:
        found, mine = await context.store.read(
            lambda tx: (schedules.digest_in(tx, channel), sounds.zone_of(tx, config, call.actor))
        )
        hint = line(f"Write {_EXAMPLE}.")
        if found is None:
            return reply(call, Card(line("No daily digest here"), (hint,)))
        card = cards.schedule_card(found, "daily digest", mine, now, config.isolation, every=False)
        return reply(call, replace(card, lines=(*card.lines, hint)))
    off = keyword(given[0]) in ("off", "no", "none", "stop")
    at, zone = (None, "") if off else _wanted(given, now)

    def effect(posts: Posts) -> None:
        tx = posts.tx
        mine = sounds.zone_of(tx, config, call.actor)
        if at is None:
            found = schedules.digest_in(tx, channel)
            if found is None:
                raise Refused(attempted="switch the daily digest off", cause="this chat has none")
            schedules.move(tx, found, ScheduleState.DELETED, f"by {call.person.name}", call.actor)
            posts.post(channel, Card(line("No daily digest here any more")))
            return
        made = daily.switch_on(tx, call.actor, channel, zone=zone or mine.key, at=at, now_us=now)
        posts.post(channel, cards.schedule_card(made, "daily digest", mine, now, config.isolation, every=False))

    return effect


def _wanted(given: list[str], now_us: int) -> tuple[tuple[int, int], str]:
    """Hour and minute, and the zone where one is named: in any order, as ``/schedule every day`` takes them. Raises
    ``Misused``."""
    said = " ".join(given).rstrip(".")
    try:
        request = read(f"every day {said.removeprefix('on')}", now_us, "UTC")
    except Misused as error:
        raise Misused(attempted=_SET, cause=error.cause, hint=f"Write {_EXAMPLE}.") from error
    spec = request.spec if request.need is Need.NOTHING else Calendar((0,), (daily.HOUR,))
    if request.job is not None or not isinstance(spec, Calendar) or len(spec.hours) > 1:
        raise Misused(attempted=_SET, cause=f"“{said[:40]}” is not understood", hint=f"Write {_EXAMPLE}.")
    return (spec.hours[0], spec.minutes[0]), request.zone


def issued_on(tx: Tx, named: str) -> DayIssued:
    """The receipt of a day: the one that is named, else the last. Raises ``Refused`` when there is none."""
    for recorded in reversed(last_events(tx, _DAYS, kinds=(DayIssued.KIND,))):
        found = recorded.event
        if isinstance(found, DayIssued) and named in (found.day, f"{found.day}-{found.last_seq}"):
            return found
    raise Refused(
        attempted=f"show the receipt of {named}", cause="no digest was posted that day", hint=f"Write {_EXAMPLE}."
    )
