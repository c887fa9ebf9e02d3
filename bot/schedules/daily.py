"""The daily digest of a channel: one post with a picture, its figures and the receipt of its range of the ledger.

Each post starts where the channel's last one ended, so that a day that nobody posted is in the next one. Picture
and receipt are written first; the slot, the event, the end of the range and the post are one transaction.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from bot import words
from bot.cards import Action, Card, Line, footed, line
from bot.digest import over
from bot.look import look_at
from bot.outbox.posting import Posts
from bot.pictures import drawn
from bot.registry import Context
from fleet.errors import AirbossError, Unavailable
from fleet.events import DayIssued, Source
from fleet.model import AIRBOSS, ChatRef
from fleet.range_figures import RangeFigures
from fleet.schedule.model import Job, Overlap, Schedule, ScheduleState, Work
from fleet.schedule.spec import HOUR_US, Calendar
from fleet.schedule.times import local_time, next_after
from fleet.store import day_figures, ledger, schedules
from fleet.store.chat import settings
from fleet.store.chat.settings import OfChat
from fleet.store.core import Tx
from fleet.store.recent import first_seq_since
from gates.receipts import day as days
from gates.receipts.checkpoints import Checkpoints
from gates.receipts.day import DayRange

HOUR: Final = 18
_OFFERED: Final = "digest.offered"
_NAMED_DAYS: Final = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A post that is ready. ``issued`` is ``None`` where its receipt could not be written."""

    card: Card
    issued: DayIssued | None


def switch_on(tx: Tx, owner: str, channel: ChatRef, *, zone: str, at: tuple[int, int], now_us: int) -> Schedule:
    """The daily digest of a channel, at this hour and minute; one that it has already is changed."""
    hour, minute = at
    spec = Calendar((minute,), (hour,))
    next_us = next_after(spec, ZoneInfo(zone), now_us) or 0
    old = schedules.digest_in(tx, channel)
    if old is not None:
        schedules.move(tx, old, ScheduleState.DELETED, "replaced", owner)
    return schedules.create(
        tx,
        owner=owner,
        channel=channel,
        spec=spec,
        zone=zone,
        work=Work(Job.DIGEST),
        overlap=Overlap.SKIP,
        next_us=next_us,
    )


def offer(tx: Tx, owner: str, channel: ChatRef, zone: str, now_us: int) -> None:
    """Switches the first admin's daily digest on, once: who switched it off is not asked again."""
    if not settings.get(tx, _OFFERED):
        settings.put(tx, _OFFERED, str(channel.adapter))
        switch_on(tx, owner, channel, zone=zone, at=(HOUR, 0), now_us=now_us)


async def prepare(context: Context, schedule: Schedule, missed: int, now_us: int) -> Prepared:
    """Computes the post for the time that is due now, and writes its picture and receipt."""
    zone = ZoneInfo(schedule.zone)
    # Of the last time that is due: a post that comes late is that day's, and the next one is today's.
    due = local_time(schedule.next_us, zone).date() + timedelta(days=missed)
    day = min(due, local_time(now_us, zone).date())

    def begin(tx: Tx) -> tuple[int, int, Line | None]:
        since, size = int(settings.get(tx, _key(schedule)) or 0), ledger.size(tx)
        first = since + 1 if since else first_seq_since(tx, now_us - 24 * HOUR_US)
        day_figures.cut(tx, size)
        return first, size, look_at(tx)

    first, last, look = await context.store.write(begin)
    isolation = context.config().isolation
    if first > last:
        return Prepared(Card(line(f"Digest · {day:%a} {day.day} {day:%b}"), (line("Nothing happened."),)), None)
    wanted = DayRange(day.isoformat(), schedule.zone, first, last)
    receipt = await days.compute(context.store, wanted, str(isolation))
    lines = [*_figures(receipt.figures), *_missing(schedule, missed, zone)]
    if look:
        lines.append(look)
    if not any(map(bool, lines)):
        lines.append(line("No task ran."))
    document, issued, beside = "", None, f"checkpoint: /receipt {wanted.day}-{last}"
    try:
        path = await days.write(context.home, wanted, receipt, context.store.instance)
        document = str(path)
        issued = DayIssued(wanted.day, first, last, receipt.root_sha256, receipt.sha256, document)
    except AirbossError as error:
        log.warning("the receipt of %s is missing: %s", wanted.day, error)
        beside = f"no receipt: {error.cause}"
    await days.share(context.store, context.home)
    await Checkpoints(context.store, context.home).try_to_keep()
    lines.append(line(f"Root {receipt.root_sha256[:16]}… of {last:,} events · unwitnessed · {beside}"))
    return Prepared(
        Card(
            title=line(f"Digest · {day:%a} {day.day} {day:%b}"),
            lines=tuple(lines),
            actions=(
                Action("More", f"/digest {first}-{last}", once=False),
                *((Action("Verify", f"/verify {wanted.day}-{last}", once=False),) if issued else ()),
            ),
            footer=footed(isolation),
            picture=await _picture(context, first, last, zone),
            document=document,
            root=f"{last}:{receipt.root_sha256}",
        ),
        issued,
    )


def post(posts: Posts, schedule: Schedule, prepared: Prepared) -> None:
    """Posts it, and moves the channel's range on."""
    if prepared.issued is not None:
        ledger.append(posts.tx, prepared.issued, actor=AIRBOSS, source=Source.CONTROLLER)
        settings.put(posts.tx, _key(schedule), str(prepared.issued.last_seq))
    posts.post(schedule.channel, prepared.card)


def _figures(figures: RangeFigures) -> list[Line]:
    """Only what is not zero."""
    calls, (_, peak) = figures.calls, figures.peak
    parts = [
        (figures.tool_calls, words.count_of(figures.tool_calls, "tool call")),
        (len(figures.sessions), words.count_of(len(figures.sessions), "session")),
        (len(figures.by_day) > 1 and peak, f"peak {peak:,}"),
        (figures.subagents, words.count_of(figures.subagents, "subagent")),
    ]
    counts = " · ".join(text for count, text in parts if count)
    bad = [(calls.failed, "failed"), (calls.denied, "denied"), (calls.unfinished, "unfinished")]
    failed = " · ".join(f"{count:,} {name}" for count, name in bad if count)
    rate = f" · {calls.error_rate()}" if calls.failed else ""
    ends = " · ".join(f"{count} {end}" for end, count in figures.ends.most_common())
    asked = f"{words.count(figures.asked, 'task')} asked" if figures.asked else ""
    ends_of_gates = [*figures.gates.most_common(), ("opened, not closed", len(figures.open_gates))]
    gates = " · ".join(f"{count} {outcome}" for outcome, count in ends_of_gates if count)
    texts = [
        counts,
        f"Calls: {failed}{rate}" if failed else "",
        " · ".join(filter(None, (asked, ends))),
        f"Gates: {gates}" if gates else "",
        f"Cost: {words.money(figures.cost_udollar)}, as agents report it" if figures.cost_udollar else "",
    ]
    return [line(text) for text in texts if text]


def _missing(schedule: Schedule, missed: int, zone: ZoneInfo) -> list[Line]:
    """The days that nobody posted, because the controller was down: they are in this one."""
    if not missed:
        return []
    first = local_time(schedule.next_us, zone).date()
    named = [first + timedelta(days=number) for number in range(min(missed, _NAMED_DAYS))]
    more = f" and {missed - _NAMED_DAYS} more" if missed > _NAMED_DAYS else ""
    return [
        line(
            f"Not posted: {', '.join(f'{day:%a} {day.day} {day:%b}' for day in named)}{more}. They are in this one."
        )
    ]


async def _picture(context: Context, first: int, last: int, zone: ZoneInfo) -> str:
    made = await over(context.store, first, last, zone)
    try:
        return await asyncio.to_thread(drawn, context.home / "files", made)
    except Unavailable as error:
        log.warning("the digest has no picture: %s", error)
        return ""


def _key(schedule: Schedule) -> str:
    return settings.of_chat(OfChat.DIGEST, schedule.channel, schedule.channel.thread)
