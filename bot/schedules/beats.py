"""Starts what is due: the slot's row, the task's row and the card's row in one transaction, so once or not at all.

Times that nobody saw (the controller was down) are lost but one: it runs now, and says how many it stands for.
While the last run is open, a slot is skipped or queued, and that is shown. Nothing is remembered between two looks.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from bot.cards import Action, Card, Line, Tone, capped, footed, line
from bot.outbox.posting import Outbox, Posts
from bot.registry import Context
from bot.requesting import request_scheduled
from bot.schedules import cards, daily, rules
from bot.schedules.daily import Prepared
from bot.telling import news, sounds
from fleet.config.home import FLEET_FILE
from fleet.errors import LeadershipLost, StoreUnavailable
from fleet.events import ConfigReloaded, Recorded, ScheduleMoved, ScheduleSet, TaskMoved
from fleet.failpoints import failpoint
from fleet.model import AIRBOSS, ENDS, ChatRef, PersonId, TaskState
from fleet.schedule.model import Job, Overlap, Schedule, ScheduleState, SlotOutcome
from fleet.schedule.spec import MINUTE_US
from fleet.schedule.timer import Alarm
from fleet.schedule.times import due_between, next_after
from fleet.store import schedules, tasks
from fleet.store.chat import cards as card_rows
from fleet.store.chat import private
from fleet.store.core import Tx
from gates.people import who

log = logging.getLogger(__name__)

BAD_IN_A_ROW: Final = 3
_QUEUED: Final = 10
"""As many slots wait for the run before them; more are skipped."""

_COUNTED: Final = 1_000
_LATE_US: Final = 2 * MINUTE_US
"""A run that starts later than this after its time says so."""

_LATE_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class _Late:
    """A run of a schedule, as it was when it was due, that also stands for so many times that were ``missed``."""

    schedule: Schedule
    task: str
    missed: int

    @property
    def times(self) -> str:
        return f"At least {self.missed + 1}" if self.missed == _COUNTED else str(self.missed + 1)

    def lines(self, zone: ZoneInfo, now_us: int) -> tuple[Line, ...]:
        """For a card of its own."""
        every = f"{self.times} times since then: {self.task} is the one run for all of them."
        return (
            line(f"It was due {cards.moment(self.schedule.next_us, zone, now_us)}, while the controller was down."),
            line(every if self.missed else f"{self.task} runs now."),
        )

    def row(self, zone: ZoneInfo, now_us: int) -> Line:
        """Among others."""
        every = f" · for {self.times.lower()} times" if self.missed else ""
        return line(
            f"{self.schedule.id} · {self.task} · due {cards.moment(self.schedule.next_us, zone, now_us)}{every}"
        )


class Beats:
    """Looks when the alarm rings: at the next time of any schedule, and after what may change one.

    ``admins``: where the first admin reads, who has a daily digest from the start.
    """

    def __init__(self, context: Context, outbox: Outbox, alarm: Alarm, admins: ChatRef | None = None) -> None:
        self._context, self._outbox, self._alarm = context, outbox, alarm
        self._admins = admins
        self._store, self._clock = context.store, context.clock
        self._looked_us = sys.maxsize  # what an earlier controller saw is not known
        self._store.observe(self._observe)
        self._store.when_unsure(self._alarm.ring)
        self._store.hear(lambda recorded: self._alarm.ring() if _rings(recorded) else None)

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        if _rings(recorded):
            tx.after_commit(self._alarm.ring)

    async def run(self) -> None:
        """Until cancelled; whatever it raises, the supervisor starts it again, from the store."""
        await self._offer()
        while True:
            self._alarm.set(await self.look())
            await self._alarm.rung()

    async def _offer(self) -> None:
        config, chat = self._context.config(), self._admins
        owner = news.first_admin(config, chat)
        if chat is None or not owner:
            return
        now = self._clock.now_us()
        await self._store.write(lambda tx: daily.offer(tx, owner, chat, sounds.zone_of(tx, config, owner).key, now))

    async def look(self) -> int | None:
        """Starts all that is due now; returns when to look again, ``None``: when something changes."""
        now = self._clock.now_us()
        if now < self._looked_us:
            await self._store.write(partial(self._reckon_again, now_us=now))
        self._looked_us = now
        ended, live, due, after = await self._store.read(
            lambda tx: (
                schedules.ended_runs(tx), schedules.listed(tx), schedules.due(tx, now), schedules.next_due_us(tx)
            )
        )  # fmt: skip
        if ended:
            await self._store.write(self._count_ends)
        paused = await self._pause_wrong(live)
        if not (ended or paused or due):
            return after
        late: list[_Late] = []
        for schedule in await self._store.read(lambda tx: schedules.due(tx, now)):
            await self._apart(schedule, now, late)
        return await self._store.read(schedules.next_due_us)

    def _reckon_again(self, tx: Tx, *, now_us: int) -> None:
        """The clock was in the future, and was set right: what comes before the times that were reckoned there is
        due after all, unless it has run."""
        config = self._context.config()
        for schedule in schedules.listed(tx):
            if schedule.state is not ScheduleState.ACTIVE or rules.wrong(config, schedule):
                continue
            zone = ZoneInfo(schedule.zone)
            due = next_after(schedule.spec, zone, now_us)
            while due is not None and due < schedule.next_us and schedules.slot(tx, schedule.id, due) is not None:
                due = next_after(schedule.spec, zone, due)
            if due is not None and due < schedule.next_us:
                schedules.reckon(tx, schedule, due)

    # --- what a schedule needs is gone --------------------------------------------------------------------

    async def _pause_wrong(self, live: Sequence[Schedule]) -> bool:
        config, found = self._context.config(), False
        for schedule in live:
            if schedule.state is ScheduleState.ACTIVE and (why := rules.wrong(config, schedule)):
                await self._store.write(partial(self._pause, schedule=schedule, why=why))
                found = True
        return found

    def _pause(self, tx: Tx, schedule: Schedule, why: str) -> None:
        found = schedules.get(tx, schedule.id)
        if found.state is ScheduleState.ACTIVE:
            paused = schedules.move(tx, found, ScheduleState.PAUSED, why, AIRBOSS)
            self._ask(self._outbox.open(tx), paused, why)

    def _ask(self, posts: Posts, paused: Schedule, why: str) -> None:
        """Says that it is paused, once, with what a person can do. The first admin is told in place of an owner who
        has no rights any more and alone would read it."""
        config, where, reader = self._context.config(), paused.channel, paused.owner
        admins = news.direct_chat(config, self._context.direct)
        if admins and private.owner(posts.tx, where) == reader and who(config, PersonId.parse(reader)) is None:
            where, reader = admins, news.first_admin(config, admins)
        card = Card(
            line(f"{paused.id} · paused"),
            (line(f"{why if why.startswith(FLEET_FILE) else why[:1].upper() + why[1:]}."), cards.what_line(paused)),
            actions=(
                Action("Resume", f"/schedule resume {paused.id}", once=False),
                Action("Delete", f"/schedule delete {paused.id}"),
            ),
            footer=footed(config.isolation),
            tone=Tone.WAITING,
            mention=reader,
        )
        sounds.post(posts, config, where, card)

    # --- a run has ended ----------------------------------------------------------------------------------

    def _count_ends(self, tx: Tx) -> None:
        posts = self._outbox.open(tx)
        for schedule, end in schedules.ended_runs(tx):
            self._count_end(posts, schedule, end)

    def _count_end(self, posts: Posts, schedule: Schedule, end: TaskState) -> Schedule:
        """Notes a run's end; pauses after three bad ones, and starts what waited for it."""
        tx = posts.tx
        counted = schedules.count_end(tx, schedule, end)
        if counted.bad_ends >= BAD_IN_A_ROW and counted.state is ScheduleState.ACTIVE:
            why = f"{counted.bad_ends} runs in a row ended badly; the last, {counted.last_task}, {end}"
            counted = schedules.move(tx, counted, ScheduleState.PAUSED, why, AIRBOSS)
            self._ask(posts, counted, why)
        waiting = schedules.queued(tx, counted.id)
        live = counted.state in (ScheduleState.ACTIVE, ScheduleState.DONE)
        if waiting and live and not rules.wrong(self._context.config(), counted):
            task = request_scheduled(self._context, posts, counted)
            counted = schedules.start_queued(tx, counted, waiting[0], task.id)
        return counted

    async def _apart(self, schedule: Schedule, now_us: int, late: list[_Late]) -> None:
        """One slot; a bug in it pauses its schedule, and the others go on."""
        try:
            await self._beat(schedule, now_us, late)
        except (StoreUnavailable, LeadershipLost):
            raise
        except Exception:
            log.exception("internal error: %s is paused", schedule.id)
            why = "an internal error; airboss.log says which"
            await self._store.write(partial(self._pause, schedule=schedule, why=why))

    # --- a slot is due --------------------------------------------------------------------------------------

    async def _beat(self, schedule: Schedule, now_us: int, late: list[_Late]) -> None:
        zone = ZoneInfo(schedule.zone)
        following = next_after(schedule.spec, zone, now_us) or 0
        missed = due_between(schedule.spec, zone, schedule.next_us, now_us, _COUNTED)
        digest = None
        if schedule.work.job is Job.DIGEST:
            digest = await daily.prepare(self._context, schedule, missed, now_us)
        failpoint("slot-due")
        work = partial(
            self._take,
            schedule=schedule,
            next_us=following,
            missed=missed,
            now_us=now_us,
            digest=digest,
            late=late,
        )
        await self._store.write(work)
        failpoint("slot-taken")

    def _take(
        self,
        tx: Tx,
        *,
        schedule: Schedule,
        next_us: int,
        missed: int,
        now_us: int,
        digest: Prepared | None,
        late: list[_Late],
    ) -> None:
        found = schedules.get(tx, schedule.id)
        if found != schedule:
            return  # somebody changed it meanwhile: the next look sees it as it is
        if schedules.slot(tx, found.id, found.next_us) is not None:
            schedules.reckon(tx, found, next_us)  # it ran before the clock was set back
            return
        posts = self._outbox.open(tx)
        take = partial(schedules.take, tx, next_us=next_us, now_us=now_us, missed=missed)
        if digest is not None:
            take(found, SlotOutcome.POSTED)
            daily.post(posts, found, digest)
            return
        if found.open_task and (open_task := tasks.task(tx, found.open_task)).state in ENDS:
            found = self._count_end(posts, found, open_task.state)
            if found.state is not ScheduleState.ACTIVE:
                return
        if found.open_task:
            waits = found.overlap is Overlap.QUEUE and len(schedules.queued(tx, found.id)) < _QUEUED
            taken = take(found, SlotOutcome.QUEUED if waits else SlotOutcome.SKIPPED)
            self._show_overlap(posts, taken, waits=waits)
        else:
            task = request_scheduled(self._context, posts, found)
            taken = take(found, SlotOutcome.STARTED, task=task.id)
            self._say_late(posts, _Late(found, task.id, missed), now_us, late)
        if not next_us:
            schedules.move(tx, taken, ScheduleState.DONE, "", AIRBOSS)

    def _say_late(self, posts: Posts, run: _Late, now_us: int, late: list[_Late]) -> None:
        """Says that a run is late, and how many times it stands for. One card for all that one look has started."""
        schedule = run.schedule
        if not run.missed and now_us - schedule.next_us < _LATE_US:
            return
        config, where = self._context.config(), schedule.channel
        zone = sounds.zone_of(posts.tx, config, schedule.owner)
        here = [*(each for each in late if each.schedule.channel == where), run]
        title, lines = f"{schedule.id} · late", run.lines(zone, now_us)
        if len(here) > 1:
            title = f"{len(here)} schedules · late"
            rows = [each.row(zone, now_us) for each in here]
            told = line("The controller was down when they were due. Each runs once now.")
            lines = (told, *capped(rows, "and {n} more", _LATE_SHOWN))
        card = Card(line(title), lines, footer=footed(config.isolation, f"times in {zone.key}"))
        key = f"late:{now_us}"
        if len(here) > 1 and card_rows.at(posts.tx, key, where) is not None:
            posts.repost(where, card, key=key)
        else:
            posts.post(where, card, key=key, task=run.task)
        posts.tx.after_commit(partial(late.append, run))

    def _show_overlap(self, posts: Posts, schedule: Schedule, *, waits: bool) -> None:
        """One card for all slots that met the same open run, changed in place."""
        queued = len(schedules.queued(posts.tx, schedule.id))
        counts = [f"{queued} waiting" if queued else "", f"{schedule.skipped} skipped" if schedule.skipped else ""]
        card = Card(
            line(f"{schedule.id} · {'waits' if waits else 'skipped'}: {schedule.open_task} is still open"),
            (line(" · ".join(filter(None, counts))),),
            footer=footed(self._context.config().isolation),
        )
        key = f"overlap:{schedule.id}:{schedule.open_task}"
        if card_rows.at(posts.tx, key, schedule.channel) is None:
            posts.post(schedule.channel, card, key=key, task=schedule.open_task)
        else:
            posts.repost(schedule.channel, card, key=key)


def _rings(recorded: Recorded) -> bool:
    match recorded.event:
        case TaskMoved(new=new):
            return new in ENDS
        case ScheduleSet() | ScheduleMoved() | ConfigReloaded():
            return True
        case _:
            return False
