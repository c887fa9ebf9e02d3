"""Commands about what starts, and when: the queue, a pause of the fleet, machines that take nothing new."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from bot import plain, words
from bot.cards import Action, Card, Line, Tone, footed, line, one_line
from bot.commands import choose, colliding
from bot.commands.common import meant, reply, schedule_replied_to
from bot.landing_view import landing_lines, plain_places
from bot.outbox.posting import Posts
from bot.pages import ROWS, Page, wanted
from bot.parse import headed, keyword
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group, in_write
from bot.telemetry_view import paused_lines
from bot.telling import sounds
from fleet.config import FleetConfig
from fleet.errors import Misused, Refused
from fleet.model import Task
from fleet.store import base_tips, landing_line, queue, sessions, tasks
from fleet.store.core import Tx
from fleet.store.landing_line import LandingPlace
from fleet.store.named import plain_id
from gates.people import Right, demand

_REASON_LIMIT = 200
_WHOLE = frozenset(("fleet", "all", "everything"))
_ID = re.compile(r"[ts]\d{1,9}")
_FOR = re.compile(r"(?:for |until |till )?\d", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Queued:
    tasks: list[Task]
    kept: dict[str, queue.Reserved]
    pauses: dict[str, queue.Pause]
    now_us: int
    landing: dict[str, list[LandingPlace]]
    stopped: dict[str, str]


async def show_queue(context: Context, call: Call) -> Effect:
    """The tasks that wait for a slot, the next one first, each with what it waits for; then who waits to land.

    ``anyway TASK`` and ``behind TASK`` decide about one that would collide with another.
    """
    given = split(call.args)
    if len(given) == 2 and not given[0].isdigit():
        demand(call.person, Right.RUN, attempted="decide what a task waits for")
        return partial(colliding.decide, context, call, given[0].lower(), given[1])

    def read(tx: Tx) -> _Queued:
        kept = queue.reserved(tx)
        line = sorted(queue.line(tx, context.config().first_id), key=lambda task: task.id not in kept)
        found = landing_line.lines(tx), base_tips.stopped(tx)
        return _Queued(line, kept, queue.pauses(tx), tx.now_us(), *found)

    found = await context.store.read(read)
    waiting, kept, pauses = found.tasks, found.kept, found.pauses
    place = next((at for at, task in enumerate(waiting) if [task.id] == [plain_id(word) for word in given]), None)
    if place is None and given and _ID.fullmatch(plain_id(given[0])):
        await _demand_lands(context, found.landing, plain_id(given[0]))
    page = Page.of(wanted(call.args) if place is None else place // ROWS + 1, len(waiting))
    config = context.config()
    lines = [*paused_lines(config, pauses, found.now_us)]
    said = ""
    for at, task in enumerate(waiting[page.first : page.upto], page.first + 1):
        same = bool(said) and task.why == said and task.id not in kept
        lines.append(_queued(config, task, at, kept.get(task.id), same=same))
        said = task.why
    data = {
        "queued": [_plain(task, kept.get(task.id)) for task in waiting],
        "pauses": [plain.pause(each) for each in pauses.values()],
        "landing": plain_places(found.landing),
        "landing_stopped": found.stopped,
    }
    lines += landing_lines(found.landing, found.stopped) if page.number == 1 else []
    pause = Action("Resume", "/resume") if queue.FLEET in pauses else Action("Pause", "/pause")
    card = Card(
        line(f"{words.count(len(waiting), 'task')} queued{page.span}"),
        tuple(lines) or (line("Nothing waits for a slot."),),
        actions=(pause, *page.actions("/queue ")),
        footer=footed(config.isolation, "/bump TASK puts one first" if len(waiting) > 1 else ""),
    )
    return reply(call, card, data=data)


async def _demand_lands(context: Context, landing: Mapping[str, list[LandingPlace]], named: str) -> None:
    """Raises ``Misused`` for a task that neither waits for a slot nor to land."""
    if any(place.task == named for line in landing.values() for place in line):
        return
    task = await context.store.read(lambda tx: tasks.find(tx, named))
    hint = f"/session {task.id} shows it."
    raise Misused(attempted=f"show {task.id} in the queue", cause=f"it is {task.state}", hint=hint)


def _plain(task: Task, kept: queue.Reserved | None) -> dict[str, object]:
    return {**plain.task(task), "after": task.after, "starts_on": kept.machine if kept else ""}


def _queued(
    config: FleetConfig, task: Task, place: int, kept: queue.Reserved | None = None, *, same: bool = False
) -> Line:
    """What it waits for. ``kept``: its slot, once it has one. ``same``: what the line above says."""
    said = f"starts on {kept.machine}" if kept else "the same" if same else sounds.named(config, task.why)
    why = (" · ", one_line(said, 60)) if said else ()
    return line(f"{place}. {task.id} {task.repo} · ", one_line(task.prompt, 30), *why)


@in_write
def bump(context: Context, call: Call, posts: Posts) -> None:
    """Puts a task first in line."""
    task = meant(posts.tx, call)
    if (now := next((queued for queued in queue.line(posts.tx) if queued.id == task.id), None)) is None:
        raise Refused(attempted=f"put {task.id} first", cause="it does not wait for a slot")
    if sounds.name_of(context.config(), now.requester) != call.person.name:
        demand(call.person, Right.MANAGE, attempted=f"put {task.id} first, which somebody else asked for")
    passed = queue.bump(posts.tx, task.id, call.actor, context.config().first_id)
    said = f"It passed {words.count(passed, 'task')}." if passed else "It was first already."
    card = Card(line(f"{task.id} is first in line"), (line(said), _queued(context.config(), now, 1)))
    posts.post(call.message.chat, card, task=task.id)
    posts.conclude(task=task.id)
    posts.tx.after_commit(partial(context.control.wake, ""))


async def pause(context: Context, call: Call) -> Effect:
    """Nothing new starts until somebody resumes; what runs goes on. ``fleet``, before the reason, says that the
    whole fleet is meant, whatever the reason begins with."""
    first, rest = headed(call.args)
    if keyword(first) in _WHOLE:
        return partial(_pause, call, queue.FLEET, _reason(rest))
    if not first:
        first = call.task or await context.store.read(lambda tx: schedule_replied_to(tx, call))
    if not call.message.pressed and (part := _part(context, first, rest)):
        return choose.asking(call, _which(first, rest, part), had_words=True)
    return partial(_pause, call, queue.FLEET, _reason(call.args))


def _part(context: Context, first: str, rest: str) -> str:
    """The command for a part of the fleet that somebody names after ``/pause``; empty: they name none."""
    if machine := choose.named(first, context.config().machines):
        return f"/drain {machine} {rest}".rstrip()
    named = plain_id(first)
    if _ID.fullmatch(named):
        return f"/schedule pause {named}" if named.startswith("s") else f"/stop {named}"
    return ""


def _which(first: str, rest: str, part: str) -> Card:
    verb, named, *_ = part.removeprefix("/schedule ").lstrip("/").split()
    return Card(
        line("Pause the whole fleet, or only ", one_line(first, 60), "?"),
        (line("Nothing is paused yet."),),
        actions=(
            Action(f"{verb.capitalize()} {named}", part),
            Action("Pause the fleet", f"/pause fleet {first} {rest}".rstrip()),
        ),
        tone=Tone.WAITING,
        choice=True,
    )


async def drain(context: Context, call: Call) -> Effect:
    """Nothing new starts on a machine; what runs there goes on."""
    machine, reason = _machine(context, call), _reason(headed(call.args)[1])
    if also := choose.named("".join(reason.split()[:1]).strip(","), context.config().machines):
        cause = f"it takes one machine, and {also} is another"
        raise Misused(attempted="do /drain", cause=cause, hint=f"/drain {machine}, then /drain {reason}")
    return partial(_pause, call, machine, reason)


async def resume(context: Context, call: Call) -> Effect:
    """The end of a pause; of a repository that is named, of a stop of its landings."""
    given, config = split(call.args), context.config()
    if not given and not call.message.pressed:
        replied = call.task or await context.store.read(lambda tx: schedule_replied_to(tx, call))
        if replied:
            hint = f"{_going_on(replied)} /resume fleet ends a pause of the fleet."
            raise Misused(attempted="do /resume", cause=f"you reply to {replied}", hint=hint)
    if not given or keyword(given[0]) in _WHOLE:
        return partial(_resume, context, call, queue.FLEET)
    repo = choose.named(given[0], config.repos)
    if not repo:
        cause = f"unknown repository {given[0]}"
        hint = f"Repositories: {', '.join(sorted(config.repos))}."
        named = plain_id(given[0])
        if machine := choose.named(given[0], config.machines):
            hint = f"/undrain {machine} lets a machine take work again."
        elif _ID.fullmatch(named):
            hint = _going_on(named)
        raise Misused(attempted="do /resume", cause=cause, hint=hint)
    demand(call.person, Right.MANAGE, attempted=f"let landings in {repo} go on")
    return partial(_resume_landings, context, call, repo)


def _going_on(named: str) -> str:
    """How a task or a schedule goes on."""
    return f"/schedule resume {named}." if named.startswith("s") else f"/go {named} lets its agent go on."


async def undrain(context: Context, call: Call) -> Effect:
    """A drained machine takes work again."""
    drained = await context.store.read(queue.pauses)
    return partial(_resume, context, call, _machine(context, call, drained))


def _machine(context: Context, call: Call, besides: Iterable[str] = ()) -> str:
    """The machine that is named first, of ``fleet.toml`` or of ``besides``."""
    given, known = split(call.args), sorted(context.config().machines)
    if given and (named := choose.named(given[0], [*known, *filter(None, besides)])):
        return named
    raise Misused(
        attempted=f"do /{call.verb}",
        cause=f"unknown machine {given[0]}" if given else "it takes a machine",
        hint=f"Machines: {', '.join(known)}.",
    )


def _reason(text: str) -> str:
    """A person's words on one line, short enough for one."""
    return " ".join(text.split())[:_REASON_LIMIT]


def _pause(call: Call, machine: str, reason: str, posts: Posts) -> None:
    tx, name = posts.tx, machine or "the fleet"
    if not queue.pause(tx, machine, call.actor, reason):
        verb, state = ("drain", "drained") if machine else ("pause", "paused")
        raise Refused(attempted=f"{verb} {name}", cause=f"it is already {state}", hint="/queue shows it.")
    busy, starting = Counter(sessions.busy(tx)), Counter(slot.machine for slot in queue.reserved(tx).values())
    at_work = (busy - starting)[machine] if machine else (busy - starting).total()
    going_on = f"{words.count(at_work, 'session')} at work {'goes' if at_work == 1 else 'go'} on."
    back = Action("Undrain", f"/undrain {machine}") if machine else Action("Resume", "/resume")
    lines = [line(going_on), line("New tasks wait in /queue.")]
    if _FOR.match(reason):
        lines.append(line(f"It has no end of its own: {'/undrain' if machine else '/resume'} ends it."))
    lines += [line(one_line(reason, 100))] if reason else []
    title = f"{machine} drained" if machine else "Fleet paused"
    card = Card(line(f"⏸ {title}: nothing new starts"), tuple(lines), actions=(back,), tone=Tone.WAITING)
    posts.post(call.message.chat, card)


def _resume(context: Context, call: Call, machine: str, posts: Posts) -> None:
    name = machine or "the fleet"
    if not queue.resume(posts.tx, machine, call.actor):
        verb, state = ("undrain", "drained") if machine else ("resume", "paused")
        raise Refused(attempted=f"{verb} {name}", cause=f"it is not {state}")
    waiting = len(queue.line(posts.tx))
    title = f"{machine} takes work again" if machine else "Fleet resumed"
    posts.post(call.message.chat, Card(line(title), (line(f"{words.count(waiting, 'task')} in /queue."),)))
    posts.tx.after_commit(partial(context.control.wake, ""))


def _resume_landings(context: Context, call: Call, repo: str, posts: Posts) -> None:
    if not base_tips.resume(posts.tx, repo, call.actor):
        raise Refused(attempted=f"let landings in {repo} go on", cause="they have not stopped")
    waiting = len(landing_line.line(posts.tx, repo))
    lines = (line(f"{words.count(waiting, 'change')} in the landing queue."), line("Judged again on the new base."))
    posts.post(call.message.chat, Card(line(f"Landings in {repo} go on"), lines))
    posts.tx.after_commit(partial(context.control.wake, ""))


COMMANDS = (
    Command(
        "queue", "order", "what waits for a slot or to land, in order", "[PAGE]", Right.SEE, show_queue, Group.WORK
    ),
    Command("bump", "", "put a task first in the queue", "TASK", Right.RUN, bump, Group.WORK),
    Command("pause", "", "start nothing new", "[WHY]", Right.STOP, pause, Group.SET_UP, urgent=True),
    Command(
        "resume",
        "",
        "start new work again; land again",
        "[REPO]",
        Right.STOP,
        resume,
        Group.SET_UP,
        aliases=("unpause",),
    ),
    Command("drain", "", "start nothing new there", "MACHINE [WHY]", Right.STOP, drain, Group.SET_UP, urgent=True),
    Command("undrain", "", "let a machine take work again", "MACHINE", Right.STOP, undrain, Group.SET_UP),
)
