"""Commands for a task whose turn stopped early: let the agent continue, or judge its work as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Final

from bot.cards import Card, Tone, line
from bot.commands import budgets
from bot.commands.answers import demand_goes_on
from bot.commands.common import find_task
from bot.commands.unlanded import unlanded
from bot.outbox.posting import Posts
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.telling import asks, causes, waiting
from bot.telling.progress import bare_footer
from fleet.errors import Refused
from fleet.model import ENDS, STOPPED_EARLY, Task, TaskState
from fleet.store import approvals, halts, sessions, stalls, takeovers, tasks
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from gates.people import Right

_APPROVAL = re.compile(r"[aA]\d{1,9}")
_ALL, _LATER, _HOURS, _MORE = "all", "later", "hours", "more"
_OPTIONS: Final = frozenset({_ALL, _LATER, _HOURS, _MORE})
_CONFIRMED = {
    ApprovalDecision.GO_ON: "the agent continues",
    ApprovalDecision.JUDGE: "the gates judge its work as it is",
}


async def go(context: Context, call: Call) -> Effect:
    """The agent continues where it stopped."""
    return await _of_ended(context, call, "go") or _decide(context, call, ApprovalDecision.GO_ON)


async def judge(context: Context, call: Call) -> Effect:
    """The gates judge the agent's work as if it had finished."""
    return await _of_ended(context, call, "land") or _decide(context, call, ApprovalDecision.JUDGE)


async def _of_ended(context: Context, call: Call, verb: str) -> Effect | None:
    """The same for a task that has ended and whose work is kept, where a person typed it."""
    given = split(call.args)
    if call.put or {word.lower() for word in given} & _OPTIONS:
        return None
    task = await context.store.read(lambda tx: _meant(tx, call, given[0] if given else ""))
    return await unlanded(context, replace(call, args=f"{verb} {task.id}")) if task.state in ENDS else None


def _decide(context: Context, call: Call, choice: ApprovalDecision) -> Effect:
    given = split(call.args)
    named = [word for word in given if word.lower() not in _OPTIONS]
    options = {word.lower() for word in given} & _OPTIONS if choice is ApprovalDecision.GO_ON else frozenset[str]()

    def effect(posts: Posts) -> None:
        tx = posts.tx
        task = _meant(tx, call, named[0] if named else "")
        attempted = f"continue {task.id}" if choice is ApprovalDecision.GO_ON else f"judge {task.id} as it is"
        if task.state is TaskState.QUEUED and _MORE in options:
            _more_for_queued(context, call, posts, task)
            return
        stall = stalls.waiting(tx, task.id)
        if stall is None:
            raise _refused(tx, task, attempted)
        demand_goes_on(tx, task, attempted)
        if call.digest and call.digest != asks.binding(stall):
            raise Refused(
                attempted=attempted,
                cause="the task's turn stopped early again after this button was shown",
                hint=f"/waiting {stall.id} shows it as it is now.",
            )
        if choice is ApprovalDecision.GO_ON:
            _check_budget(context, call, posts, task, more=_MORE in options)
        when = stalls.IN_HOURS if _HOURS in options else stalls.AT_RESET if _LATER in options else ""
        if when and task.state is not TaskState.PARKED:
            raise Refused(
                attempted=attempted, cause="no usage limit parked it", hint=f"/go {task.id} continues it now."
            )
        every = causes.together(tx, stall) if _ALL in options else [stall]
        for each in every:
            decided = stalls.decide(tx, each, choice, call.actor, when)
            waiting.decided(posts, context.config(), decided)
            tx.after_commit(partial(context.control.wake, decided.task))
        names = ", ".join(each.task for each in every)
        title = line(f"{names} · {_CONFIRMED[choice]}{f' {when}' if when else ''}")
        base = bare_footer(task, context.config())
        posts.post(call.message.chat, Card(title, footer=base, tone=Tone.WORKING), task=task.id)
        posts.conclude(task=task.id)

    return effect


def _refused(tx: Tx, task: Task, attempted: str) -> Refused:
    by_hand = takeovers.current(tx, task.id)
    if by_hand is not None:
        return Refused(attempted=attempted, cause=by_hand.words, hint=f"/attach {task.id} end hands it back.")
    decided = task.state in STOPPED_EARLY
    why = "a person has decided that already" if decided else f"it is not stalled: it is {task.state}"
    return Refused(attempted=attempted, cause=why)


def _check_budget(context: Context, call: Call, posts: Posts, task: Task, *, more: bool) -> None:
    """A halted task goes on with what is left of its budget, or with ``more``."""
    tx = posts.tx
    if more:
        budgets.grant_more(context, call, posts, task)
    elif halts.spent(tx, sessions.of_task(tx, task.id)[-1].id):
        budgets.demand_left(context, tx, task)


def _more_for_queued(context: Context, call: Call, posts: Posts, task: Task) -> None:
    """A task that waits because a day's budget is used up may start: that budget gets its whole amount again."""
    more = budgets.grant_more(context, call, posts, task)
    if not more:
        raise Refused(attempted=f"give {task.id} more", cause="no budget keeps it back", hint="/queue shows why.")
    posts.post(call.message.chat, Card(line(f"{task.id} may start"), tuple(map(line, more))), task=task.id)
    posts.conclude(task=task.id)


def _meant(tx: Tx, call: Call, word: str) -> Task:
    if _APPROVAL.fullmatch(word):
        return tasks.task(tx, approvals.find(tx, word).task)
    return find_task(tx, call, word)


COMMANDS = (
    Command(
        "go",
        "continue",
        "let an agent continue after it stopped early",
        "[TASK] [all] [later|hours|more]",
        Right.STEER,
        go,
        Group.DECIDE,
        aliases=("continue",),
    ),
    Command("judge", "", "run the gates on what an agent left", "[TASK]", Right.RUN, judge, Group.DECIDE),
)
