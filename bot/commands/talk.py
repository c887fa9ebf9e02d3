"""Commands that send messages to agents and choose what makes a sound."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from bot import words
from bot.cards import Action, Card, Tone, line, one_line
from bot.commands.answers import settle
from bot.commands.common import find_task, split_task
from bot.commands.tasks import keep_files
from bot.hearing import drafts, sent
from bot.nods import is_nod
from bot.outbox.posting import Posts
from bot.parse import keyword, tidy
from bot.parse import words as split
from bot.registry import Call, Command, Context, Group, in_write
from bot.telling import mutes, waiting
from bot.telling.sounds import DAY_MINUTES, Level, SoundSettings, save_sound_settings, sound_settings, zone_of
from fleet.errors import Misused, Refused
from fleet.flight import notes
from fleet.flight.notes import Reach
from fleet.model import Task
from fleet.store import approvals, sessions, tasks
from fleet.store.states import ApprovalKind
from gates.people import Right, demand, may

_DURATION = re.compile(r"(\d{1,4})\s*(m|min|minutes?|h|hours?|d|days?|w|weeks?)?$", re.IGNORECASE)
_AS_IF_TO_STOP = re.compile(r"(?:please |pls |just )?(?:stop|halt|abort|cancel|kill)\b[^\n]{0,16}", re.IGNORECASE)
"""Words that sound like the command, and are for the agent."""

_WITH_ANSWER = "This came with the answer."
_UNIT_US = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 7 * 86_400_000_000}


_REACHES: Final = {
    Reach.AT_ITS_START: "queued: the agent reads it when it starts",
    Reach.STEERING: "sent to the running agent",
    Reach.NEXT_TURN: "queued: the agent reads it as its next turn",
    Reach.BEFORE_LANDING: "queued: the agent reads it before anything lands",
    Reach.WITHDRAWS: "approval withdrawn; the agent continues",
    Reach.GOES_ON: "the agent continues with your message",
    Reach.FIXES: "the agent fixes the denied change",
}


@in_write
def say(context: Context, call: Call, posts: Posts) -> None:
    """Sends a message to a task's agent: into its running turn, as its next turn, or as the answer to its
    question."""
    wanted, text = split_task(call)
    if not text:
        raise SAY.misused("the message is empty")
    tx = posts.tx
    task = tasks.task(tx, find_task(tx, call, wanted).id)
    asked = [approval for approval in approvals.waiting(tx, task.id) if approval.questions]
    if len(asked) == 1:
        demand(call.person, Right.APPROVE, attempted=f"answer {asked[0].id}")
        settle(context, call, posts, asked[0], allow=True, reason=text)
        if call.message.files:  # an answer takes text only
            note = sessions.add_note(tx, asked[0].session, _WITH_ANSWER, call.actor)
            keep_files(tx, call, task.id, note)
        return
    if call.message.text.strip() == text and not call.message.files and is_nod(text):
        decidable = [each for each in approvals.waiting(tx, task.id) if each.kind is not ApprovalKind.STALL]
        if decidable:
            _ask_again(context, call, posts, decidable)
            return
    try:
        left = notes.add(tx, task, text, call.actor)
    except Refused as error:
        if not _AS_IF_TO_STOP.fullmatch(text.strip()):
            raise
        hint = f"/stop {task.id} ends it."
        raise Refused(attempted=error.attempted, on=error.on, cause=error.cause, hint=hint) from error
    keep_files(tx, call, task.id, left.note)
    if left.withdrawn is not None:
        _withdrawn(context, call, posts, task, left.withdrawn)
    title = line(f"{task.id} · {_REACHES[left.reach]}")
    card = Card(title, (line("“", one_line(text, 120), "”"),), tone=Tone.WORKING)
    if _AS_IF_TO_STOP.fullmatch(text.strip()) and not call.message.pressed:
        only = line("Its agent reads this, and may go on.")
        card = replace(card, lines=(*card.lines, only), actions=(Action(f"Stop {task.id}", f"/stop {task.id}"),))
    posts.post(call.message.chat, card, task=task.id)
    posts.conclude(task=task.id)
    tx.after_commit(lambda: context.control.wake(task.id))


def _ask_again(context: Context, call: Call, posts: Posts, every: Sequence[approvals.Approval]) -> None:
    """A nod decides nothing, since it does not say about what; nor is it worth a turn of the agent."""
    here = waiting.asked_in(posts.tx, call.message.chat, every, call.message.reply_to)
    lead = line("“", one_line(call.message.text, 40), "” decided nothing and was not sent: press a button.")
    files = context.home / "files"
    waiting.bring_up(posts, context.config(), call.message.chat, (*here, *every)[0], files, lead=lead)
    sent.came_to_nothing(posts.tx, call.message)
    posts.conclude(status=Misused.status)


def _withdrawn(context: Context, call: Call, posts: Posts, task: Task, held: approvals.Approval) -> None:
    """The card that asked for approval loses its buttons, and says why."""
    who = "you" if call.actor == task.requester else call.person.name
    title = line(
        f"{task.id} · {'continues' if held.kind is ApprovalKind.STALL else 'withdrawn'}: {who} sent a message"
    )
    waiting.decided(posts, context.config(), held, title=title)


@in_write
def mute(context: Context, call: Call, posts: Posts) -> None:
    """Mutes this chat for a while; cards still arrive. In a shared chat this needs the right to run."""
    if not call.message.private and not may(call.person, Right.RUN):
        raise Refused(
            attempted="do /mute",
            on="a shared chat",
            cause=f"this needs the right to {Right.RUN}; your role is {call.person.role}",
            hint=f"{context.registry.write(call.message.adapter, 'notify')} none mutes only your own messages.",
        )
    given = keyword(tidy(call.args)).removeprefix("for ").strip()
    if given in ("off", "no", "end"):
        until, text = 0, "Sound is on again"
    elif given in ("", "on", "forever"):
        until, text = mutes.FOREVER, f"Muted until {context.registry.write(call.message.adapter, 'mute')} off"
    elif found := _DURATION.match(given):
        until = posts.tx.now_us() + int(found.group(1)) * _UNIT_US[(found.group(2) or "m")[0]]
        text = f"Muted until {words.day(until, zone_of(posts.tx, context.config(), call.actor))}"
    else:
        raise MUTE.misused(f"{given[:20]!r} is not a length of time")
    mutes.mute(posts.tx, call.message.chat, until)
    posts.post(call.message.chat, Card(line(text)))


@in_write
def cancel(context: Context, call: Call, posts: Posts) -> None:
    """Discards a draft that waits for its prompt. Never stops a task: /stop does that."""
    stop = context.registry.write(call.message.adapter, "stop")
    dropped = drafts.drop(posts.tx, call.message.chat, call.message.sender)
    named, _ = split_task(call)
    how = Card(line("No draft to discard."), (line(f"{stop} {named or call.task or 'TASK'} ends a task."),))
    posts.post(call.message.chat, Card(line("Draft discarded; no task started.")) if dropped else how)


@in_write
def notify(context: Context, call: Call, posts: Posts) -> None:
    """Sets which events of a person's own tasks make a sound for them, and their quiet hours."""
    given = split(re.sub(r"\s*-\s*", "-", tidy(call.args)).lower())
    zone = next((word for word in split(call.args) if "/" in word or word.upper() == "UTC"), "")
    tx = posts.tx
    config, person = context.config(), call.message.sender
    wanted = sound_settings(tx, config, person)
    for word in given:
        if word in _LEVELS:
            wanted = replace(wanted, level=Level(word))
        elif hours := _HOURS.match(word):
            start, end = (_minute(hours.group(at), hours.group(at + 1)) for at in (1, 3))
            wanted = replace(wanted, quiet_from=start, quiet_to=end)
        elif word == "off":
            wanted = replace(wanted, quiet_from=0, quiet_to=0)
        elif word != "quiet" and word != zone.lower():
            raise NOTIFY.misused(f"{word[:20]!r} is not a level or a time")
    if zone:
        wanted = replace(wanted, zone=_zone(zone))
    save_sound_settings(tx, config, person, wanted)
    quiet = "no quiet hours"
    if wanted.quiet_from != wanted.quiet_to:
        where = zone_of(tx, config, call.actor).key
        quiet = f"quiet {_hours(wanted)} {where}: only a task's end makes a sound during them"
    card = Card(line(f"You hear: {wanted.level}"), (line(_HEARS[wanted.level]), line(quiet)))
    posts.post(call.message.chat, card)


def _minute(hour: str, minute: str | None) -> int:
    found = int(hour) * 60 + int(minute or 0)
    if int(minute or 0) > 59 or found > DAY_MINUTES:
        raise NOTIFY.misused(f"{hour}:{minute} is not a time of day")
    return found % DAY_MINUTES


def _hours(chosen: SoundSettings) -> str:
    return "-".join(f"{at // 60:02d}:{at % 60:02d}" for at in (chosen.quiet_from, chosen.quiet_to))


def _zone(name: str) -> str:
    known = {zone.lower(): zone for zone in available_timezones()}.get(name.lower(), name)
    try:
        return ZoneInfo(known).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise NOTIFY.misused(f"{name[:40]!r} is not a known time zone; write one like Europe/Berlin") from error


_HOURS = re.compile(r"(\d{1,2})(?::(\d{2}))?-(\d{1,2})(?::(\d{2}))?$")
_LEVELS = frozenset(map(str, Level))
_HEARS = {
    Level.ALL: "Failed gates, questions, and every end of your tasks.",
    Level.MINE: "The first failed gate, questions, and failed ends of your tasks.",
    Level.FINAL: "Every end of your tasks.",
    Level.NONE: "Nothing. Cards still arrive silently.",
}

SAY = Command(
    "say",
    "to agent",
    "send a message to a task's agent",
    "[TASK] WORDS…",
    Right.STEER,
    say,
    Group.WORK,
    aliases=("tell",),
    takes_words=True,
)
MUTE = Command("mute", "chat", "silence this chat", "[30m|2h|1d|off]", Right.SEE, mute, Group.SET_UP)
NOTIFY = Command(
    "notify",
    "sounds",
    "choose what makes a sound",
    "[all|mine|final|none] [22:00-07:00|off] [ZONE]",
    Right.SEE,
    notify,
    Group.SET_UP,
)
CANCEL = Command("cancel", "", "discard your draft", "", Right.SEE, cancel, Group.WORK)
COMMANDS = (SAY, CANCEL, MUTE, NOTIFY)
