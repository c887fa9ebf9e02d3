"""Commands for work that starts by itself: make, list and change schedules, and the zone of one's clock."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from zoneinfo import ZoneInfo

from bot import words as phrases
from bot.cards import Action, Card, Tone, line
from bot.commands.common import reply
from bot.commands.planning import changeable, plan, show
from bot.hearing import drafts
from bot.hearing.drafts import Draft
from bot.outbox.posting import Posts
from bot.pages import Page, wanted
from bot.parse import headed, keyword
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group, in_write
from bot.requesting import request_scheduled
from bot.schedules import cards, rules
from bot.schedules.words import EXAMPLE
from bot.telling import buttons, sounds
from fleet.errors import Misused, Refused
from fleet.model import ENDS
from fleet.schedule.model import Job, Schedule, ScheduleState
from fleet.schedule.times import next_after
from fleet.store import schedules, tasks
from fleet.zones import nearest_zone, zone_of_clock
from gates.people import Right

_ID = re.compile(r"[sS]\d{1,9}")


async def schedule(context: Context, call: Call) -> Effect:
    """Makes a schedule from words, or changes one: ``pause s1``, ``resume``, ``now``, ``edit``, ``delete``."""
    head, rest = headed(call.args)
    verb = _OTHERWISE.get(keyword(head), keyword(head))
    if verb == _EDIT:
        return await _edit(context, call, rest)
    if verb in _CHANGES:
        return partial(_CHANGES[verb], context, call, rest)
    if keyword(head) == "list" or (_ID.fullmatch(keyword(head)) and not rest):
        return await show_schedules(context, call)
    if keyword(head) == Job.RUN and _RUN_ONE.fullmatch(rest):
        return partial(_now, context, call, rest)
    return await plan(context, call, call.args, None)


# --- one schedule -------------------------------------------------------------------------------------------


def _pause(context: Context, call: Call, named: str, posts: Posts) -> None:
    found = changeable(context, posts.tx, call, named)
    if found.state is not ScheduleState.ACTIVE:
        raise Refused(attempted=f"pause {found.id}", cause=f"it is {found.state} already")
    paused = schedules.move(posts.tx, found, ScheduleState.PAUSED, f"by {call.person.name}", call.actor)
    _changed(context, call, posts, paused, "paused")


def _resume(context: Context, call: Call, named: str, posts: Posts) -> None:
    tx = posts.tx
    found = changeable(context, tx, call, named)
    if found.state is not ScheduleState.PAUSED:
        raise Refused(attempted=f"resume {found.id}", cause=f"it is {found.state} already")
    if why := rules.wrong(context.config(), found):
        raise Refused(attempted=f"resume {found.id}", cause=why)
    next_us = next_after(found.spec, ZoneInfo(found.zone), context.clock.now_us()) or 0
    state = ScheduleState.ACTIVE if next_us else ScheduleState.DONE
    resumed = schedules.move(tx, found, state, "", call.actor, next_us=next_us)
    _changed(context, call, posts, resumed, "resumed" if next_us else "its time is over")


def _delete(context: Context, call: Call, named: str, posts: Posts) -> None:
    found = changeable(context, posts.tx, call, named)
    gone = schedules.move(posts.tx, found, ScheduleState.DELETED, f"by {call.person.name}", call.actor)
    buttons.withdraw(posts, found.channel, *(f"/schedule {verb} {found.id}" for verb in (*_CHANGES, _EDIT)))
    show(posts, call, Card(line(f"{gone.id} · deleted"), (cards.what_line(gone),)))


def _now(context: Context, call: Call, named: str, posts: Posts) -> None:
    """One run now, with its owner's rights; the schedule's own times stay as they are."""
    tx = posts.tx
    found = changeable(context, tx, call, named)
    attempted = f"run {found.id} now"
    if found.open_task and tasks.task(tx, found.open_task).state not in ENDS:
        raise Refused(attempted=attempted, cause=f"its run {found.open_task} is still open")
    if why := rules.wrong(context.config(), found):
        raise Refused(attempted=attempted, cause=why)
    work = found.work
    if work.job is Job.DIGEST:
        raise Refused(attempted=attempted, cause="it is a digest", hint="/digest shows one now.")
    task = request_scheduled(context, posts, found)
    schedules.started(tx, found, task.id)
    if found.channel != call.message.chat:
        posts.post(call.message.chat, Card(line(f"{found.id} · {task.id} started")), task=task.id)
    posts.conclude(task=task.id)


async def _edit(context: Context, call: Call, named: str) -> Effect:
    """New words for a schedule: those given, or the next message."""
    head, text = headed(named)
    old = await context.store.read(lambda tx: changeable(context, tx, call, head))
    if old.work.job is Job.DIGEST:
        raise Refused(attempted=f"edit {old.id}", cause="it is a digest", hint="/digest daily 18:00 sets its time.")
    if text:
        return await plan(context, call, text, old)
    return partial(_await_change, context, call, old)


def _await_change(context: Context, call: Call, old: Schedule, posts: Posts) -> None:
    cancel = context.registry.write(call.message.adapter, "cancel")
    card = Card(
        line(f"How should {old.id} change?"),
        (
            line("Send “every day 9:00” for another time, “run …” for another task."),
            line(f"{cancel} leaves it as it is."),
        ),
        tone=Tone.WAITING,
    )
    question = posts.post(call.message.chat, card)
    draft = Draft("schedule", f"edit {old.id} ", question=question)
    drafts.keep(posts.tx, call.message.chat, call.message.sender, draft)


def _changed(context: Context, call: Call, posts: Posts, found: Schedule, title: str) -> None:
    config, now = context.config(), context.clock.now_us()
    mine = sounds.zone_of(posts.tx, config, call.actor)
    show(posts, call, cards.schedule_card(found, title, mine, now, config.isolation, every=True))


_EDIT = "edit"
_CHANGES = {"pause": _pause, "resume": _resume, "now": _now, "delete": _delete}
_OTHERWISE = {"stop": "pause", "remove": "delete", "cancel": "delete", "change": "edit"}
_RUN_ONE = re.compile(r"[sS]\d{1,9}(?:\s+now)?[.!]?", re.IGNORECASE)


# --- all of them --------------------------------------------------------------------------------------------


async def show_schedules(context: Context, call: Call) -> Effect:
    """The schedules with their next time and last result, a page of them; or one, with its buttons."""
    config, now, given = context.config(), context.clock.now_us(), [keyword(word) for word in split(call.args)]
    if given[:1] and given[0] in {*_CHANGES, _EDIT, *_OTHERWISE}:
        write = context.registry.write(call.message.adapter, "schedule")
        raise Misused(attempted="change a schedule", hint=f"Write {write} {' '.join(given)[:40]}.")
    if given and _ID.fullmatch(given[0]):
        found, mine = await context.store.read(
            lambda tx: (schedules.find(tx, given[0]), sounds.zone_of(tx, config, call.actor))
        )
        data = cards.plain(found, now)
        return reply(
            call, cards.schedule_card(found, str(found.state), mine, now, config.isolation, every=True), data=data
        )
    every, mine = await context.store.read(
        lambda tx: (schedules.listed(tx), sounds.zone_of(tx, config, call.actor))
    )
    data = {"v": 1, "schedules": [cards.plain(schedule, now) for schedule in every]}
    page = Page.of(wanted(call.args), len(every), _LISTED)
    shown = every[page.first : page.upto]
    lines = [cards.schedule_line(schedule, mine, now) for schedule in shown]
    card = Card(
        line(phrases.count(len(every), "schedule") + page.span),
        tuple(lines) or (line(f"None yet. Example: /schedule {EXAMPLE}"),),
        actions=(
            *(Action(schedule.id, f"/schedules {schedule.id}", once=False) for schedule in shown),
            *page.actions("/schedules "),
        ),
        footer=f"times in {mine.key}",
    )
    return reply(call, card, data=data)


_LISTED = 6


@in_write
def zone(context: Context, call: Call, posts: Posts) -> None:
    """Shows or sets the zone of a person's clock, for all chats that they use."""
    given, config = split(call.args), context.config()
    name = next(filter(None, (zone_of_clock(joint.join(given)) for joint in ("_", ""))), "")
    if given and not name:
        near, said = nearest_zone("_".join(given)), " ".join(given)[:40]
        raise ZONE.misused(f"{said!r} is no time zone" + (f"; did you mean {near}?" if near else ""))
    if name:
        wish = sounds.sound_settings(posts.tx, config, call.message.sender)
        sounds.save_sound_settings(posts.tx, config, call.message.sender, replace(wish, zone=name))
    mine = sounds.zone_of(posts.tx, config, call.actor)
    here = cards.moment(context.clock.now_us(), mine, context.clock.now_us())
    more = () if name else (line("/zone Europe/Berlin sets another one."),)
    posts.post(call.message.chat, Card(line(f"Your time zone: {mine.key}"), (line(f"It is {here} there."), *more)))


ZONE = Command(
    "zone",
    "",
    "show or set your time zone",
    "[Europe/Berlin]",
    Right.SEE,
    zone,
    Group.SET_UP,
    aliases=("timezone",),
)
COMMANDS = (
    Command(
        "schedule",
        "later",
        "start a task later, or again and again",
        "WHEN [ZONE] [queue] run|ask WORDS…",
        Right.RUN,
        schedule,
        Group.WORK,
        aliases=("cron",),
        takes_words=True,
    ),
    Command(
        "schedules",
        "list",
        "schedules: next runs, last results",
        "[SCHEDULE|PAGE]",
        Right.SEE,
        show_schedules,
        Group.WORK,
    ),
    ZONE,
)
