"""Commands that start, stop and retry tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from bot import words
from bot.cards import Action, Card, Line, Tone, line
from bot.commands import choose, colliding, models
from bot.commands.common import meant, reply
from bot.commands.usual import with_usual
from bot.hearing import held_files
from bot.message import Attachment
from bot.outbox.posting import Posts
from bot.parse import RunRequest, keyword, run_request
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group, in_write
from bot.requesting import NOW, OR_WAIT, budget_of, declared, request_task, start_now
from bot.telling import buttons, locked
from bot.telling.progress import bare_footer
from fleet.errors import Misused, Refused
from fleet.flight import starting
from fleet.model import ENDS, Task, TaskMode, TaskState
from fleet.store import landings, sessions, tasks
from fleet.store.chat import attachments as attachment_rows
from fleet.store.core import Tx
from gates.people import Right, demand

_NAMED: Final = 12
_EVERY: Final = (["all"], ["everything"])


async def run(context: Context, call: Call) -> Effect:
    """Starts a task that changes the repository."""
    return await _start(context, call, TaskMode.CHANGE)


async def ask(context: Context, call: Call) -> Effect:
    """Starts a task that answers a question; nothing is committed and nothing lands."""
    return await _start(context, call, TaskMode.ASK)


async def _start(context: Context, call: Call, mode: TaskMode) -> Effect:
    config = context.config()
    typed = choose.clear(run_request(call.args))
    question = choose.last_options(config, call.verb, typed)
    if question is not None:
        return choose.asking(call, question, had_words=True)
    request = await with_usual(context, call, typed)
    question = choose.missing(config, call.verb, request, context.control.machines())
    if question is not None:
        return choose.asking(call, question, had_words=bool(request.prompt))
    request = choose.settled(config, request)
    wants, waits = await declared(context, mode, request), _waits(request)
    budget = budget_of(config, request.agent, request.budget)
    if not request.prompt:
        return choose.awaiting_words(context, call, request)

    def effect(posts: Posts) -> None:
        tx = posts.tx
        machine = "" if request.machine == choose.ANY else request.machine
        changes = mode is TaskMode.CHANGE
        first = tasks.find(tx, request.after) if request.after else None
        if first is not None and first.state in ENDS - {TaskState.LANDED, TaskState.ANSWERED}:
            cause = f"{first.id} has ended as {first.state}"
            raise Refused(attempted=f"wait for {first.id} to land", cause=cause, hint="Leave after= out.")
        after = first.id if first is not None else ""
        met = (
            colliding.ahead(tx, context.locks.line, wants, repo=request.repo, words=request.prompt, after=after)
            if changes
            else ()
        )
        task = request_task(
            context,
            posts,
            repo=request.repo,
            agent=request.agent,
            machine=machine,
            prompt=request.prompt,
            mode=mode,
            requester=call.actor,
            origin=call.message.chat,
            locks=tuple(dict.fromkeys((*wants, *(collision.want for collision in met)))),
            after=after,
            budget=budget,
            model=models.wanted_model(tx, config, call.message.chat, request),
            needs=request.needs,
        )
        if not waits:
            start_now(context, posts, task)
        posts.conclude(task=task.id)
        if met and not waits:
            raise Refused(attempted=NOW, cause=f"{met[0].holder} has {met[0].path}", hint=OR_WAIT)
        if met:
            posts.post(call.message.chat, colliding.warning(tx, task, met), task=task.id)
        keep_files(tx, call, task.id, attachment_rows.REQUEST, held_files.under(tx, call.digest))

    return effect


def _waits(request: RunRequest) -> bool:
    """Whether the task may wait for a slot. Raises ``Misused``."""
    answer = request.wait.lower()
    if answer not in ("", "yes", "no"):
        raise Misused(attempted="read wait=", cause=f"unknown answer {request.wait}", hint="wait=no or wait=yes")
    if answer == "no" and request.after:
        raise Misused(attempted=NOW, cause="after= waits for a task", hint="Leave after= or wait= out.")
    return answer != "no"


def keep_files(tx: Tx, call: Call, task: str, note: int, earlier: Sequence[Attachment] = ()) -> None:
    """Keeps the files that came with the text, after ``earlier`` ones: for a task's request, or a note of it."""
    for file in (*earlier, *call.message.files):
        attachment_rows.add(
            tx, task, note, name=file.name, path=file.path, media_type=file.media_type, size=file.size
        )


async def stop(context: Context, call: Call) -> Effect:
    """Ends a task, or all of them."""
    given = [keyword(word) for word in split(call.args)]
    if given[:1] in _EVERY:
        return await _ask_stop_all(context, call) if given[1:] != ["yes"] else partial(_stop_all, context, call)
    return partial(_stop, context, call)


def _stop(context: Context, call: Call, posts: Posts) -> None:
    tx = posts.tx
    task = meant(tx, call)
    if task.state in ENDS:
        raise Refused(attempted=f"stop {task.id}", cause=f"it has already ended: {task.state}")
    asked = tasks.request_stop(tx, task.id, call.actor)
    buttons.withdraw(posts, task.origin, f"/stop {task.id}")
    title = f"{task.id} · stopping" if asked else f"{task.id} · already stopping"
    late = landings.may_have_landed(tx, task.id)
    lines = (line("It is landing: where that is done already, it stays landed."),) if late else ()
    card = Card(line(title), lines, footer=bare_footer(task, context.config()), tone=Tone.WORKING)
    posts.post(call.message.chat, card, task=task.id)
    posts.conclude(task=task.id)
    tx.after_commit(lambda: context.control.wake(task.id))


async def _ask_stop_all(context: Context, call: Call) -> Effect:
    def read(tx: Tx) -> tuple[list[Task], int]:
        every = tasks.open_tasks(tx)
        return [task for task in every if not tasks.stop_requested(tx, task.id)], len(every)

    found, open_ = await context.store.read(read)
    if not found:
        cause = f"{words.count(open_, 'task')} stopping already, and no other is open" if open_ else "none is open"
        raise Refused(attempted="stop all tasks", cause=cause)
    count = words.count(len(found), "open task")
    card = Card(
        line(f"Stop all? {count}"),
        (line(words.some((task.id for task in found), _NAMED)),),
        actions=(Action("Stop all", "/stop all yes", digest=str(max(_number(task) for task in found))),),
        footer="/pause starts nothing new and lets these go on",
        tone=Tone.WAITING,
    )
    return reply(call, card)


def _stop_all(context: Context, call: Call, posts: Posts) -> None:
    tx, found = posts.tx, tasks.open_tasks(posts.tx)
    newest = int(call.digest) if call.digest else max((_number(task) for task in found), default=0)
    stopping = [task for task in found if _number(task) <= newest and tasks.request_stop(tx, task.id, call.actor)]
    newer = [task.id for task in found if _number(task) > newest]
    for task in stopping:
        buttons.withdraw(posts, task.origin, f"/stop {task.id}")
    title = f"Stopping {words.count(len(stopping), 'task')}" if stopping else "No open task to stop"
    lines = [line("Each task's card says when its processes are gone.")] if stopping else []
    lines += _not_reachable(context, tx, stopping)
    if newer:
        lines.append(line(f"Started since you asked, not stopped: {', '.join(newer[:_NAMED])}"))
    posts.post(call.message.chat, Card(line(title), tuple(lines), tone=Tone.WORKING))
    tx.after_commit(lambda: context.control.wake(""))


def _not_reachable(context: Context, tx: Tx, stopping: Sequence[Task]) -> list[Line]:
    """The machines that do not answer now: what runs there cannot be ended or checked before they do."""
    away = {name for name, seen in context.control.machines().items() if seen.state.is_bad}
    ids = {task.id for task in stopping}
    there = [session for session in sessions.active(tx) if session.machine in away and session.task in ids]
    left = {
        name: ", ".join(session.task for session in there if session.machine == name)
        for name in sorted({session.machine for session in there})
    }
    return [line(f"{name} does not answer, so this ends later: {named}") for name, named in left.items()]


def _number(task: Task) -> int:
    return int(task.id[1:])


@in_write
def retry(context: Context, call: Call, posts: Posts) -> None:
    """Starts the same task again, from the base as it is now. A task that is still open is stopped.

    With ``behind`` it first waits for what it was refused, and locks that.
    Refuses while an earlier retry is open; a button refuses if there was any.
    """
    behind = [keyword(word) for word in split(call.args)[1:2]] == ["behind"]
    tx = posts.tx
    now = meant(tx, call, newest=True)
    before = tasks.retried_as(tx, now.id)
    if before is not None and (call.message.pressed or before.state not in ENDS):
        raise Refused(
            attempted=f"retry {now.id}",
            cause=f"already retried as {before.id}, which is {before.state}",
            hint=f"/session {before.id} shows it."
            if before.state not in ENDS
            else f"/retry {before.id} retries that task.",
        )
    if now.state not in ENDS:
        demand(call.person, Right.STOP, attempted=f"stop {now.id}, as a retry requires")
        if not tasks.request_stop(tx, now.id, call.actor):
            raise Refused(attempted=f"retry {now.id}", cause="it is stopping", hint="Try again when it has ended.")
        tx.after_commit(lambda: context.control.wake(now.id))
    again = request_task(
        context,
        posts,
        repo=now.repo,
        agent=now.agent,
        machine=now.machine,
        prompt=now.prompt,
        mode=now.mode,
        requester=call.actor,
        origin=call.message.chat,
        retry_of=now.id,
        budget=now.budget,
        model=now.model,
        after="" if starting.missed(tx, now) else now.after,
        locks=tuple(dict.fromkeys((*now.locks, *(locked.refused_wants(tx, now.id) if behind else ())))),
        needs=now.needs,
        forked=now.forked,
    )
    posts.conclude(task=again.id)
    attachment_rows.copy(tx, now.id, again.id)
    buttons.withdraw(posts, now.origin, f"/retry {now.id}", f"/stop {now.id}")


_WHERE = "[repo=R on=M agent=A after=T budget=B wait=no]"
RUN = Command(
    "run", "change", "ask an agent for a change", f"{_WHERE} WORDS…", Right.RUN, run, Group.WORK, takes_words=True
)
ASK = Command(
    "ask",
    "question",
    "ask an agent a question; nothing lands",
    f"{_WHERE} WORDS…",
    Right.RUN,
    ask,
    Group.WORK,
    takes_words=True,
)
COMMANDS = (
    RUN,
    ASK,
    Command(
        "stop",
        "task",
        "end a task, or all",
        "[TASK|all]",
        Right.STOP,
        stop,
        Group.WORK,
        aliases=("kill",),
        urgent=True,
    ),
    Command(
        "retry",
        "task",
        "run a task again from the start",
        "[TASK]",
        Right.RUN,
        retry,
        Group.WORK,
        aliases=("again",),
    ),
)
