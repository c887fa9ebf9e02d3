"""Commands that begin, end and repeat tasks, and answer what waits for a person."""

from __future__ import annotations

from collections.abc import Sequence

from bot import asks, buttons, held, words
from bot.cards import Card, Tone, line, one_line
from bot.commands import choose
from bot.commands.common import find_task, reply, task_meant
from bot.commands.pages import Page, wanted
from bot.deliver import post, repost
from bot.drafts import Draft
from bot.message import Attachment
from bot.parse import run_request
from bot.parse import words as split
from bot.progress import Progress, footer, progress_card, task_key
from bot.registry import Call, Command, Context, Effect
from fleet.errors import Misused, Refused
from fleet.model import ENDS, Task, TaskMode
from fleet.store import approvals, attachments, tasks
from fleet.store.core import Tx
from gates import grants
from gates.people import Right, demand

SECTION = "Tasks"


async def run(context: Context, call: Call) -> Effect:
    """Asks for a change."""
    return _begin(context, call, TaskMode.CHANGE)


async def ask(context: Context, call: Call) -> Effect:
    """Asks a question; nothing is committed and nothing lands."""
    return _begin(context, call, TaskMode.ASK)


def _begin(context: Context, call: Call, mode: TaskMode) -> Effect:
    config, request = context.config(), run_request(call.args)
    question = choose.missing(config, call.verb, request, context.control.machines())
    if question is not None:
        return choose.asking(call, question, had_words=bool(request.prompt))
    repo = choose.pick("repository", "repo=", request.repo, sorted(config.repos))
    agent = choose.pick("agent", "agent=", request.agent or config.repos[repo].agent, sorted(config.agents))
    machine = choose.pick_machine(config, request.machine)
    if not request.prompt:
        return choose.awaiting_words(context, call, Draft(call.verb, repo, machine, agent))

    def effect(tx: Tx) -> None:
        wanted = "" if machine == choose.ANY else machine
        task = _create(context, call, tx, repo=repo, agent=agent, machine=wanted, prompt=request.prompt, mode=mode)
        keep_files(tx, call, task.id, attachments.REQUEST, held.held(tx, call.digest))

    return effect


def _create(
    context: Context,
    call: Call,
    tx: Tx,
    *,
    repo: str,
    agent: str,
    machine: str,
    prompt: str,
    mode: TaskMode,
    retry_of: str = "",
) -> Task:
    task = tasks.create_task(
        tx,
        repo=repo,
        agent=agent,
        machine=machine,
        prompt=prompt,
        mode=mode,
        requester=call.actor,
        origin=call.message.chat,
        retry_of=retry_of,
    )
    card = progress_card(task, Progress(), context.config().isolation, tx.now_us())
    post(tx, call.message.chat, card, key=task_key(task.id), task=task.id)
    call.result.task = task.id
    tx.after_commit(lambda: context.control.wake(task.id))
    return task


def keep_files(tx: Tx, call: Call, task: str, note: int, earlier: Sequence[Attachment] = ()) -> None:
    """Keeps the files that came with the words, after ``earlier`` ones: for a task's request, or a note of it."""
    for file in (*earlier, *call.message.files):
        attachments.add(tx, task, note, name=file.name, path=file.path, media_type=file.media_type, size=file.size)


async def stop(context: Context, call: Call) -> Effect:
    """Ends a task."""
    task = await task_meant(context, call)

    def effect(tx: Tx) -> None:
        now = tasks.task(tx, task.id)
        if now.state in ENDS:
            raise Refused(attempted=f"stop {task.id}", cause=f"it has ended: {now.state}")
        asked = tasks.request_stop(tx, task.id, call.actor)
        buttons.withdraw(tx, now.origin, f"/stop {task.id}")
        title = f"{task.id} · stopping" if asked else f"{task.id} · was asked to stop before"
        post(
            tx, call.message.chat, Card(line(title), footer=_footer(context, now), tone=Tone.WORKING), task=task.id
        )
        call.result.task = task.id
        tx.after_commit(lambda: context.control.wake(task.id))

    return effect


def _footer(context: Context, task: Task) -> str:
    return footer(task, Progress(), context.config().isolation)


async def retry(context: Context, call: Call) -> Effect:
    """Asks for the same again, as a new task from the base as it is now; one that is still open is stopped.

    A retry that is under way is pointed to, and a button begins none where there was one already.
    """
    task = await task_meant(context, call)

    def effect(tx: Tx) -> None:
        now = tasks.task(tx, task.id)
        before = tasks.retried_as(tx, now.id)
        if before is not None and (call.message.pressed or before.state not in ENDS):
            raise Refused(
                attempted=f"retry {now.id}",
                cause=f"already retried as {before.id}, which is {before.state}",
                hint=f"/session {before.id} shows it."
                if before.state not in ENDS
                else f"/retry {before.id} tries once more.",
            )
        if now.state not in ENDS:
            demand(call.person, Right.STOP, attempted=f"stop {now.id}, which a retry does")
            if not tasks.request_stop(tx, now.id, call.actor):
                raise Refused(
                    attempted=f"retry {now.id}", cause="it is being stopped", hint="Try again when it has ended."
                )
            tx.after_commit(lambda: context.control.wake(now.id))
        again = _create(
            context,
            call,
            tx,
            repo=now.repo,
            agent=now.agent,
            machine=now.machine,
            prompt=now.prompt,
            mode=now.mode,
            retry_of=now.id,
        )
        attachments.copy(tx, now.id, again.id)
        buttons.withdraw(tx, now.origin, f"/retry {now.id}", f"/stop {now.id}")

    return effect


async def approve(context: Context, call: Call) -> Effect:
    """Says yes to what waits."""
    return await _decide(context, call, allow=True)


async def deny(context: Context, call: Call) -> Effect:
    """Says no to what waits."""
    return await _decide(context, call, allow=False)


async def _decide(context: Context, call: Call, *, allow: bool) -> Effect:
    given = split(call.args)
    rest = call.args.strip()[len(given[0]) :].strip() if given else ""
    verb = "approve" if allow else "deny"

    def effect(tx: Tx) -> None:
        waiting = _waiting(tx, call, given[0] if given else "")
        right = Right.RELEASE if waiting.kind == "hold" else Right.APPROVE
        demand(call.person, right, attempted=f"{verb} {waiting.id}")
        if call.digest and call.digest != asks.binding(waiting):
            raise Refused(
                attempted=f"{verb} {waiting.id}",
                cause="it is not what the button showed",
                hint="Use the newest card.",
            )
        scope, reason = _scope(waiting, rest) if allow else ("", rest)
        if allow and waiting.questions and not reason:
            raise Misused(
                attempted=f"answer {waiting.id}",
                cause="the agent asks for an answer, not for leave",
                hint=f"/approve {waiting.id} and the answer: an option's number, or your own words.",
            )
        settle(context, call, tx, waiting, allow=allow, reason=reason, scope=scope)

    return effect


def _scope(waiting: approvals.Approval, rest: str) -> tuple[str, str]:
    """Whether the yes is for the session, and the words besides."""
    head, _, more = rest.partition(" ")
    if waiting.kind == "permission" and not waiting.questions and head.lower() == "session":
        return "session", more.strip()
    return "", rest


def settle(
    context: Context, call: Call, tx: Tx, waiting: approvals.Approval, *, allow: bool, reason: str, scope: str = ""
) -> None:
    """Puts a person's word to what waits into the store and on its cards, and says that it was heard."""
    answer = allow and bool(waiting.questions)
    said = asks.chosen(waiting, reason) if answer else reason
    decided = approvals.decide(tx, waiting.id, allow, call.actor, said, scope=scope, answer=answer)
    if scope == "session":
        grants.grant(tx, waiting, call.actor)
    task = tasks.task(tx, waiting.task)
    card = asks.decided_card(task, decided, call.person.name, _footer(context, task))
    for key in (asks.key(waiting), asks.reminder_key(waiting)):
        repost(tx, task.origin, card, key=key)
    verb = "answered" if answer else "denied" if not allow else "approved for this session" if scope else "approved"
    post(tx, call.message.chat, Card(line(f"{waiting.id} · {verb}")), task=task.id)
    call.result.task = task.id
    tx.after_commit(lambda: context.control.wake(task.id))


def _waiting(tx: Tx, call: Call, word: str) -> approvals.Approval:
    """What is meant: by its id, or by its task's, or the only one that waits."""
    every = approvals.waiting(tx)
    if word and not word.lower().startswith("t"):
        return approvals.find(tx, word)
    if word or call.task:
        task = find_task(tx, call, word)
        every = [one for one in every if one.task == task.id]
    if len(every) == 1:
        return every[0]
    ids = ", ".join(f"{one.id} ({one.task})" for one in every)
    raise Misused(
        attempted="tell what is meant",
        cause="several wait for a person" if every else "nothing waits for a person",
        hint=f"Add one of: {ids}" if ids else "",
    )


async def waiting_for_person(context: Context, call: Call) -> Effect:
    """Shows what waits for a person, oldest first; a page of it."""
    every = await context.store.read(approvals.waiting)
    page = Page.of(wanted(call.args), len(every))
    lines = tuple(
        line(f"{one.id} · {one.task} · {one.kind} · until {words.clock(one.expires_us)} ", one_line(one.reason, 60))
        for one in every[page.first : page.upto]
    )
    card = Card(line(f"Waiting for a person{page.span}"), lines or (line("Nothing waits."),))
    return reply(call, card.with_actions(page.actions("/waiting ")))


_WHERE = "[repo=R] [on=MACHINE] [agent=A]"
RUN = Command("run", "ask an agent for a change", f"{_WHERE} WORDS…", Right.RUN, run, SECTION)
ASK = Command("ask", "ask an agent a question; nothing lands", f"{_WHERE} WORDS…", Right.RUN, ask, SECTION)
COMMANDS = (
    RUN,
    ASK,
    Command("stop", "end a task", "[TASK]", Right.STOP, stop, SECTION, aliases=("kill",)),
    Command("retry", "do a task again from the start", "[TASK]", Right.RUN, retry, SECTION, aliases=("again",)),
    Command(
        "approve",
        "say yes to what waits",
        "[ID] [session] [WHY]",
        Right.APPROVE,
        approve,
        SECTION,
        aliases=("yes",),
    ),
    Command("deny", "say no to what waits", "[ID] [WHY]", Right.APPROVE, deny, SECTION, aliases=("no",)),
    Command("waiting", "what waits for a person", "[PAGE]", Right.SEE, waiting_for_person, SECTION),
)
