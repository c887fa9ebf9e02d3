"""Makes a schedule from words: asks for what is missing, one question at a time, by buttons."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from zoneinfo import ZoneInfo

from bot import words as phrases
from bot.cards import Action, Card, Tone, line
from bot.commands import choose
from bot.commands.common import reply
from bot.commands.usual import with_usual
from bot.outbox.posting import Posts
from bot.parse import RunRequest, keyword, run_request
from bot.parse import words as split
from bot.registry import Call, Context, Effect
from bot.requesting import budget_of, declared
from bot.schedules import cards, rules
from bot.schedules.words import EXAMPLE, Need, ScheduleRequest, read
from bot.telling import sounds
from fleet.budgets import typed_budget
from fleet.errors import Misused, Refused
from fleet.locks import LockMode
from fleet.model import TaskMode
from fleet.schedule.model import Job, Overlap, Schedule, ScheduleState, Work
from fleet.schedule.times import next_after
from fleet.store import schedules
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx
from gates.people import Right, may

_WHEN = ("in 1 hour", "tomorrow 7:00", "every weekday 9:00", "every day 2:00", "every hour")
_NAMED = re.compile(r"s?\d{1,9}")
_TIMES = ("2:00", "7:00", "9:00", "12:00", "18:00", "22:00")


async def plan(context: Context, call: Call, text: str, old: Schedule | None) -> Effect:
    """A schedule from words: asked for what is missing, confirmed, or made. ``old``: the one that is edited."""
    config, now = context.config(), context.clock.now_us()
    zone = await context.store.read(lambda tx: sounds.zone_of(tx, config, call.actor))
    request = _read(text, now, old.zone if old else zone.key, old)
    if call.message.files:
        raise Misused(
            attempted="make a schedule", cause="a schedule takes no files", hint="Put them into the repository."
        )
    if request.need is not Need.NOTHING:
        return reply(call, _ask_when(request))
    if request.job is None:
        return reply(call, _ask_job(request))
    typed = choose.clear(run_request(request.words))
    asked = await with_usual(context, call, typed if old is None else _as_before(typed, old.work, request.job))
    if asked.after or asked.wait:
        raise Misused(
            attempted="make a schedule",
            cause="a schedule starts at a time, and then waits in the queue",
            hint="Leave after= and wait= out, or use /run.",
        )
    verb = f"schedule {'edit ' + old.id + ' ' if old else ''}{_head(request)} {request.job}"
    question = choose.last_options(config, verb, typed)
    question = question or choose.missing(config, verb, asked, context.control.machines())
    if question is not None:
        return choose.asking(call, question, had_words=bool(asked.prompt))
    asked = choose.settled(config, asked)
    mode = TaskMode.ASK if request.job is Job.ASK else TaskMode.CHANGE
    locks = await declared(context, mode, asked)
    budget = budget_of(config, asked.agent, asked.budget)
    if not asked.prompt:
        return choose.awaiting_words(context, call, asked, f"{verb.removeprefix('schedule ')} ")
    where = "" if asked.machine == choose.ANY else asked.machine
    work = Work(request.job, asked.repo, asked.agent, where, asked.prompt, locks, budget, asked.needs, asked.model)
    assert request.spec is not None
    named = request.zone or (old.zone if old else zone.key)
    if request.job is Job.RUN and not request.yes:
        gap = rules.shortest_gap_us(request.spec, ZoneInfo(named), now)
        if 0 < gap < rules.SHORT_US:
            return reply(call, _ask_yes(request, gap, old))
    return partial(_made, context, call, replace(request, zone=named), work=work, old=old, mine=zone)


def _read(text: str, now_us: int, usual: str, old: Schedule | None) -> ScheduleRequest:
    """What the words ask for. Raises ``Misused``, with what to write where ``old`` is changed."""
    try:
        request = read(text, now_us, usual)
    except Misused as error:
        if old is None:
            raise
        hint = f"For another task, write {old.work.job} before its words. For another time: every weekday 9:00"
        raise Misused(attempted=f"change {old.id}", cause=error.cause, hint=hint) from error
    return request if old is None else _filled(request, old)


def _made(
    context: Context,
    call: Call,
    request: ScheduleRequest,
    posts: Posts,
    *,
    work: Work,
    old: Schedule | None,
    mine: ZoneInfo,
) -> None:
    tx, now, config = posts.tx, context.clock.now_us(), context.config()
    assert request.spec is not None
    next_us = next_after(request.spec, ZoneInfo(request.zone), now) or 0
    if old is None:
        made = schedules.create(
            tx,
            owner=call.actor,
            channel=call.message.chat,
            spec=request.spec,
            zone=request.zone,
            work=work,
            overlap=request.overlap or Overlap.SKIP,
            next_us=next_us,
        )
    else:
        found = changeable(context, tx, call, old.id)
        overlap = request.overlap or found.overlap
        made = replace(found, spec=request.spec, zone=request.zone, work=work, overlap=overlap)
        made = schedules.edit(
            tx, replace(made, next_us=next_us if made.state is ScheduleState.ACTIVE else 0), call.actor
        )
    title = "changed" if old else "scheduled"
    show(posts, call, cards.schedule_card(made, title, mine, now, config.isolation, every=False))


def _as_before(typed: RunRequest, work: Work, job: Job) -> RunRequest:
    """New words for a task: the options that they leave out stay, unless they are for another repository."""
    if typed.repo and typed.repo != work.repo:
        return typed
    old = _as_typed(work)
    locks = old if job is Job.RUN and not (typed.locks or typed.shares) else typed
    return replace(
        typed,
        repo=old.repo,
        machine=typed.machine or work.machine,
        agent=typed.agent or old.agent,
        locks=locks.locks,
        shares=locks.shares,
        budget=typed.budget or old.budget,
        needs=typed.needs or old.needs,
        model=typed.model or (old.model if typed.agent in ("", old.agent) else ""),
    )


def _as_typed(work: Work) -> RunRequest:
    """The work as a person would ask for it."""
    locks = {mode: tuple(str(want.resource) for want in work.locks if want.mode is mode) for mode in LockMode}
    return RunRequest(
        work.prompt,
        work.repo,
        work.machine or choose.ANY,
        work.agent,
        locks=locks[LockMode.EXCLUSIVE],
        shares=locks[LockMode.SHARED],
        budget=typed_budget(work.budget),
        needs=work.needs,
        model=work.model,
    )


def _filled(request: ScheduleRequest, old: Schedule) -> ScheduleRequest:
    """What new words leave out stays as it was."""
    if request.job is None:
        kept = _as_typed(old.work)
        request = replace(request, job=old.work.job, words=f"{kept.options} -- {kept.prompt}")
    if request.need is Need.WHEN and request.words:
        request = replace(request, spec=old.spec, need=Need.NOTHING, zone=request.zone or old.zone)
    return replace(request, overlap=request.overlap or old.overlap)


# --- what is still to be said -----------------------------------------------------------------------------


def _head(request: ScheduleRequest) -> str:
    """When, as it was typed, and the options with it."""
    return " ".join(filter(None, ("yes" if request.yes else "", request.head, request.zone, request.overlap)))


def _ask_when(request: ScheduleRequest) -> Card:
    """Buttons for the time: each is the same command with one in it."""
    tail = " ".join(filter(None, (_tail_options(request), str(request.job or ""), request.words)))
    offered = _WHEN if request.need is Need.WHEN else tuple(f"{request.head} {time}" for time in _TIMES)
    labels = _WHEN if request.need is Need.WHEN else _TIMES
    return Card(
        line("When?" if request.need is Need.WHEN else f"{request.head.capitalize()}, at what time?"),
        (line(f"Or write it: /schedule {EXAMPLE}"),),
        actions=tuple(
            Action(label, f"/schedule {when} {tail}".strip()) for label, when in zip(labels, offered, strict=True)
        ),
        tone=Tone.WAITING,
        choice=True,
    )


def _tail_options(request: ScheduleRequest) -> str:
    return " ".join(filter(None, (request.zone, request.overlap)))


def _ask_job(request: ScheduleRequest) -> Card:
    head = _head(request)
    return Card(
        line("What should it do?"),
        actions=(
            Action("Run a change", f"/schedule {head} run"),
            Action("Ask a question", f"/schedule {head} ask"),
        ),
        tone=Tone.WAITING,
        choice=True,
    )


def _ask_yes(request: ScheduleRequest, gap_us: int, old: Schedule | None) -> Card:
    a_day = 24 * 60 * 60_000_000 // gap_us
    edit = f"edit {old.id} " if old else ""
    again = f"/schedule {edit}{_head(replace(request, yes=True))} {request.job} {request.words}"
    return Card(
        line(f"A task every {phrases.about(gap_us)}?"),
        (line(f"That is up to {a_day:,} tasks a day. Nothing is scheduled yet."),),
        actions=(Action("Yes, schedule it", again),),
        tone=Tone.WAITING,
        choice=True,
    )


def changeable(context: Context, tx: Tx, call: Call, named: str) -> Schedule:
    """The schedule, when this person may change it: their own, or anybody's for an admin."""
    if not named:
        known = ", ".join(schedule.id for schedule in schedules.listed(tx)[:8]) or "none"
        raise Misused(attempted="change a schedule", cause="no schedule is named", hint=f"There are: {known}")
    given = [keyword(word) for word in split(named)]
    if len(given) > 1 and all(_NAMED.fullmatch(word) for word in given):
        raise Misused(
            attempted="change a schedule",
            cause="several schedules are named",
            hint=f"One at a time, such as {given[0]}.",
        )
    found = schedules.find(tx, given[0])
    if found.state in (ScheduleState.DELETED, ScheduleState.DONE):
        raise Refused(attempted=f"change {found.id}", cause=f"it is {found.state}")
    own = context.config().is_same_person(found.owner, call.actor)
    if not own and not may(call.person, Right.MANAGE):
        raise Refused(
            attempted=f"change {found.id}",
            cause="it is somebody else's",
            hint="Its owner or an admin can change it.",
        )
    return found


def show(posts: Posts, call: Call, card: Card) -> None:
    """In place of the card whose button was pressed, else as a new one."""
    pressed = card_rows.by_put(posts.tx, call.put) if call.put else None
    if pressed is None or call.message.chat != pressed.chat:
        posts.post(call.message.chat, card)
    else:
        posts.repost(pressed.chat, card, key=pressed.key, soon=True)
