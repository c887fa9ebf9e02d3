"""Commands that show the fleet: its machines, sessions, gates and people."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict
from datetime import tzinfo

from bot import plain, words
from bot.cards import MAX_LINES, Action, Card, Line, capped, field, footed, line, one_line
from bot.commands import choose
from bot.commands.common import reply, task_meant, zone_of_caller
from bot.outbox.posting import Posts
from bot.pages import Page, wanted
from bot.parse import keyword
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.revoking import revoked, unlist, without_admin
from bot.telemetry_view import FleetView, ended_line, look, session_lines, status_card
from bot.telling import live, sounds
from bot.telling.notify import folded
from bot.telling.progress import Progress
from fleet.agent_events import TurnOutcome
from fleet.config import load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused
from fleet.model import ENDS, Session, Task, Turn
from fleet.store import queue, sessions, tasks
from fleet.store.core import Tx
from fleet.store.named import plain_id
from gates.people import RIGHTS, Right, Role

_ENDED_SHOWN = 8
_PEOPLE = 8  # of a page, beside what the roles may do
_CHANGES = frozenset(("revoke", "remove", "delete", "add"))
_TASK = re.compile(r"[tT]?\d{1,18}(?:\.\d+)*")


async def status(context: Context, call: Call) -> Effect:
    """The fleet on one screen; or the task that is named."""
    named = split(call.args)[:1]
    if any(_TASK.fullmatch(plain_id(word)) for word in named):
        return await show_session(context, call)
    for verb, known in (("machines", context.config().machines), ("history", context.config().repos)):
        if named and (one := choose.named(named[0], known)):
            raise Misused(attempted="do /status", cause=f"{one} is no task", hint=f"/{verb} {one} shows it.")
    view, control, config = await context.store.read(look), context.control, context.config()
    troubles, seen = control.troubles().lines, control.machines()
    zone = await zone_of_caller(context, call)
    card = status_card(config, view, seen, troubles, serving=control.serving(), zone=zone)

    def effect(posts: Posts) -> None:
        posts.data = plain.fleet(config, view, seen, troubles)
        live.begin(posts, call.message.chat, card, zone)

    return effect


async def show_sessions(context: Context, call: Call) -> Effect:
    """A page of the sessions at work, then of the tasks that ended last; or the task that is named.

    A number is a page; without such a page, it is a task.
    """

    def read(tx: Tx) -> tuple[FleetView, list[Task], int, int, Page]:
        live, starting = len(sessions.active(tx)), len(queue.reserved(tx))
        waiting = live - (sum(sessions.busy(tx).values()) - starting)
        ended = [task for task in tasks.recent(tx, _ENDED_SHOWN) if task.state in ENDS]
        page = Page.of(wanted(call.args), live + len(ended))
        on_page = ended[max(0, page.first - live) : max(0, page.upto - live)]
        return look(tx, skip=page.first), on_page, live, waiting, page

    named = split(call.args)[:1]
    if named and not named[0].isdigit() and _TASK.fullmatch(named[0]):
        return await show_session(context, call)
    view, ended, live, waiting, page = await context.store.read(read)
    if page.number == 1 < wanted(call.args) <= await context.store.read(tasks.last_number):
        return await show_session(context, call)
    shown = max(0, min(page.upto, live) - page.first)
    queued = len(await context.store.read(queue.line))
    wait = "task waits" if queued == 1 else "tasks wait"
    nothing = f"{queued} {wait} in /queue." if queued else "No tasks yet: /run starts one."
    lines = session_lines(view, shown, MAX_LINES)[:shown] + [ended_line(task) for task in ended]
    slotless = f", {waiting} waiting" if waiting else ""
    card = Card(
        line(f"{words.count(live - waiting, 'session')} at work{slotless}{page.span}"),
        tuple(lines) or (line(nothing),),
        actions=page.actions("/sessions "),
        footer=footed(context.config().isolation),
    )
    data = {
        "sessions": plain.working(view),
        "sessions_count": live,
        "ended": [plain.task(task) for task in ended],
    }
    return reply(call, card, data=data)


async def show_session(context: Context, call: Call) -> Effect:
    """One task's sessions and turns."""
    task = await task_meant(context, call)

    def read(tx: Tx) -> tuple[Progress, list[tuple[Session, list[Turn]]], tzinfo]:
        every = sessions.of_task(tx, task.id)
        turns = [(session, sessions.turns(tx, session.id)) for session in every]
        return folded(tx, task.id), turns, sounds.zone_of(tx, context.config(), call.actor)

    progress, found, zone = await context.store.read(read)
    data = {
        "task": plain.task(task),
        "sessions": [
            {**plain.session(session), "turns": [plain.turn(turn) for turn in turns]} for session, turns in found
        ],
        "cost_udollar": progress.cost_udollar,
    }
    return reply(call, _session_card(context, task, progress, found, zone), task=task.id, data=data)


def _session_card(
    context: Context, task: Task, progress: Progress, found: list[tuple[Session, list[Turn]]], zone: tzinfo
) -> Card:
    config = context.config()
    why = (": ", one_line(sounds.named(config, task.why), 240)) if task.why else ()
    lines: list[Line] = [line(f"{task.state}", *why)]
    for session, turns in found:
        lines.append(line(f"{session.id} on {session.machine} from {words.short(session.base)}"))
        for turn in turns:
            end = words.duration(turn.ended_us - turn.started_us) if turn.ended_us else "at work"
            made = f" · {words.short(turn.snapshot)}" if turn.snapshot else ""
            outcome = (
                "" if turn.outcome in (None, TurnOutcome.COMPLETED) else f" · {turn.outcome}".replace("_", " ")
            )
            lines.append(line(f"  turn {turn.number} · {turn.cause} · {end}{outcome}{made}"))
    fields = [
        field("Agent", task.agent),
        field("Asked by", sounds.name_of(config, task.requester)),
        field("At", words.day(task.created_us, zone)),
    ]
    if progress.cost_udollar:
        fields.append(field("Cost", words.money(progress.cost_udollar)))
    isolation = found[-1][0].isolation if found else config.isolation
    return Card(
        title=line(f"{task.id} · {task.repo} · ", one_line(task.prompt, 60)),
        lines=capped(lines, "and {n} more lines"),
        fields=tuple(fields),
        actions=(
            Action("Log", f"/logs {task.id}", once=False),
            Action("Gates", f"/gates {task.id}", once=False),
        ),
        footer=footed(isolation),
    )


async def gates(context: Context, call: Call) -> Effect:
    """A task's gate runs, newest last; without a task, those of the last tasks."""
    if split(call.args) or call.task:
        chosen = [await task_meant(context, call)]
    else:
        chosen = list(reversed(await context.store.read(lambda tx: tasks.recent(tx, 4))))

    def read(tx: Tx) -> list[tuple[Task, Progress]]:
        return [(task, folded(tx, task.id)) for task in chosen]

    lines: list[Line] = []
    isolation, runs = context.config().isolation, list[plain.Plain]()
    for task, progress in await context.store.read(read):
        runs += [{"task": task.id, "run": run, **asdict(seen)} for run, seen in progress.gates.items()]
        isolation = progress.isolation or isolation
        for run, seen in progress.gates.items():
            took = f" · {words.duration(seen.took_us)}" if seen.outcome else ""
            tests = f" · {seen.tests()}" if seen.tests() else ""
            lines.append(line(f"{run or task.id} · {seen.summary()}{took}{tests} · {words.short(seen.commit)}"))
    data = {"runs": runs}
    title = line(f"{chosen[0].id} · gates" if len(chosen) == 1 else "Gates of the last tasks")
    newest = lines[-11:]
    if len(lines) > len(newest):
        newest.insert(0, line(f"{len(lines) - len(newest)} earlier runs"))
    return reply(
        call, Card(title, tuple(newest) or (line("No gate has run yet."),), footer=footed(isolation)), data=data
    )


async def people(context: Context, call: Call) -> Effect:
    """Who may do what."""
    config = context.config()
    if keyword("".join(split(call.args)[:1])) in _CHANGES:
        hint = "/revoke ID ends the rights of an id; airboss people add, on the controller, gives some."
        raise Misused(attempted="change the people", cause="/people only shows them", hint=hint)
    page = Page.of(wanted(call.args), len(config.people), _PEOPLE)
    shown = config.people[page.first : page.upto]
    lines = [line(f"{person.name} · {person.role} · {', '.join(person.ids)}") for person in shown]
    lines += [line(f"{role}: {', '.join(sorted(RIGHTS[role]))}") for role in Role]
    data = {
        "people": [person.model_dump(mode="json") for person in config.people],
        "rights": {str(role): sorted(RIGHTS[role]) for role in Role},
    }
    card = Card(
        line(f"{words.count(len(config.people), 'person', 'people')}{page.span}"),
        tuple(lines),
        actions=page.actions("/people "),
        footer=footed(config.isolation, "airboss people add"),
    )
    return reply(call, card, data=data)


async def revoke(context: Context, call: Call) -> Effect:
    """Ends every right of an id."""
    given = call.args.split()
    if len(given) != 1:
        raise Misused(attempted="do /revoke", cause="it takes one id", hint="/people shows them all.")
    ids = [id_ for person in context.config().people if choose.named(given[0], [person.name]) for id_ in person.ids]
    if ids:
        raise Misused(
            attempted="do /revoke",
            cause=f"{given[0]} is a name, and it ends the rights of one id",
            hint=" · ".join(f"/revoke {id_}" for id_ in ids[:4]),
        )
    name = await asyncio.to_thread(unlist, context.home, given[0])
    last = without_admin(load_fleet(context.home / FLEET_FILE))

    def effect(posts: Posts) -> None:
        revoked(posts.tx, given[0], name, call.actor)
        lines = [line("Its rights, buttons and drafts ended. Nothing more goes to its private chat.")]
        open_ = [task.id for task in tasks.open_tasks(posts.tx) if task.requester == given[0]]
        if open_:
            lines.append(
                line(f"Its open tasks go on: {', '.join(open_[:8])}{' …' if open_[8:] else ''}. /stop ends one.")
            )
        lines += [line(last)] if last else []
        posts.post(call.message.chat, Card(line(f"{name}: {given[0]} revoked"), tuple(lines)))

    return effect


COMMANDS = (
    Command(
        "status",
        "fleet",
        "the fleet on one screen",
        "[TASK]",
        Right.SEE,
        status,
        Group.LOOK,
        aliases=("fleet", "st"),
    ),
    Command(
        "sessions",
        "",
        "agents at work, tasks that ended",
        "[PAGE|TASK]",
        Right.SEE,
        show_sessions,
        Group.LOOK,
        aliases=("tasks",),
    ),
    Command(
        "session",
        "",
        "one task: sessions, turns, cost",
        "[TASK]",
        Right.SEE,
        show_session,
        Group.LOOK,
        aliases=("task",),
    ),
    Command("gates", "runs", "gate runs and how they ended", "[TASK]", Right.SEE, gates, Group.REPORTS),
    Command("people", "", "who may do what", "", Right.SEE, people, Group.LOOK),
    Command("revoke", "", "end all rights of an id", "ID", Right.MANAGE, revoke, Group.SET_UP, urgent=True),
)
