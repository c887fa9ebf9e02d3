"""Commands that show and decide what waits for a person."""

from __future__ import annotations

import re

from bot import plain
from bot.cards import Card, line
from bot.commands.common import find_task
from bot.outbox.posting import Posts
from bot.pages import Page, wanted
from bot.parse import headed
from bot.parse import words as split
from bot.registry import Call, Command, Context, Group, RefusedForNow, demand_right, in_write
from bot.telling import asks, direct, sounds, waiting
from fleet.errors import AirbossError, Misused, Refused
from fleet.model import ENDS, Task
from fleet.store import approvals, takeovers, tasks
from fleet.store.approvals import Approval, ApprovalDecision
from fleet.store.chat import buttons as button_rows
from fleet.store.core import Tx
from fleet.store.states import ApprovalKind, ApprovalScope
from gates.people import Right, demand, demand_not_own, may, people
from gates.rulings import grants

_ID = re.compile(r"[aA]\d{1,9}")


@in_write
def approve(context: Context, call: Call, posts: Posts) -> None:
    """Approves a request."""
    _decide(context, call, posts, allow=True)


@in_write
def deny(context: Context, call: Call, posts: Posts) -> None:
    """Denies a request."""
    _decide(context, call, posts, allow=False)


def _decide(context: Context, call: Call, posts: Posts, *, allow: bool) -> None:
    word, rest = _named(call)
    verb = "approve" if allow else "deny"
    tx = posts.tx
    if not may(call.person, Right.APPROVE) and not _is_hold(tx, call, word):
        demand_right(call.person, Right.APPROVE, context.registry.write(call.message.adapter, call.verb))
    asked = _meant(tx, call, word)
    if isinstance(asked, list):
        _show(context, call, posts, asked)
        return
    task = tasks.task(tx, asked.task)
    if asked.decision is ApprovalDecision.WITHDRAWN and task.state in ENDS:
        raise Refused(
            attempted=f"{verb} {asked.id}",
            cause=f"{task.id} has ended: it is {task.state}",
            hint=f"/retry {task.id} runs it again.",
        )
    demand_goes_on(tx, task, f"{verb} {asked.id}")
    if asked.kind is ApprovalKind.STALL:
        raise Refused(
            attempted=f"{verb} {asked.id}",
            cause="a turn that stopped early cannot be approved or denied",
            hint=f"/go {asked.task} lets the agent continue, /judge {asked.task} runs the gates on its work "
            f"as it is, /stop {asked.task} ends the task.",
        )
    if asked.kind is ApprovalKind.HOLD and not asked.decision and not may(call.person, Right.RELEASE):
        raise _may_not_release(context, call, tx, asked)
    right = Right.RELEASE if asked.kind is ApprovalKind.HOLD else Right.APPROVE
    demand(call.person, right, attempted=f"{verb} {asked.id}")
    if allow and asked.kind is ApprovalKind.HOLD:
        by_hand = takeovers.people_of(tx, asked.task)
        demand_not_own(
            context.config(),
            right,
            call.person,
            task.requester,
            attempted=f"release {asked.id}",
            by_hand=by_hand,
        )
    _demand_shown(tx, call, asked, allow=allow)
    scope, reason = _scope(asked, rest) if allow else (ApprovalScope.ONCE, rest)
    if allow and asked.questions and not reason:
        raise Misused(
            attempted=f"answer {asked.id}",
            cause="the agent asked a question; it needs an answer",
            hint=f"/approve {asked.id} and your answer: an option's number or your own words.",
        )
    settle(context, call, posts, asked, allow=allow, reason=reason, scope=scope)


def demand_goes_on(tx: Tx, task: Task, attempted: str) -> None:
    """Raises ``Refused`` for a task that is being stopped: a decision about it would change nothing."""
    if task.state not in ENDS and tasks.stop_requested(tx, task.id):
        raise Refused(
            attempted=attempted, cause=f"{task.id} is being stopped", hint=f"/retry {task.id} runs it again."
        )


def _named(call: Call) -> tuple[str, str]:
    """The id that the arguments begin with, and the words after it. A first word without a digit is no id, and a
    number alone is none in a reply: "2 tests are missing" is the reason."""
    first, *more = call.args.split(maxsplit=1) or [""]
    word = "".join(split(first)).rstrip(",;:")
    if any(letter.isdigit() for letter in word) and not (call.task and word.isdigit()):
        return word, "".join(more).strip()
    return "", call.args.strip()


def _is_hold(tx: Tx, call: Call, word: str) -> bool:
    """Whether a held change is meant, which everyone who sees it may ask an admin to release."""
    try:
        asked = _meant(tx, call, word)
    except AirbossError:
        return False
    return isinstance(asked, Approval) and asked.kind is ApprovalKind.HOLD


def _may_not_release(context: Context, call: Call, tx: Tx, held: Approval) -> RefusedForNow:
    """The refusal for a person without the right to release; everyone who has it is asked, unless they were."""
    config, task = context.config(), tasks.task(tx, held.task)
    known = [person.name for person in people(config, Right.RELEASE)]
    asked = {person.name for person in direct.besides(tx, config, Right.RELEASE, context.direct, task)}
    asked |= {sounds.name_of(config, task.requester)} & set(known)

    def ask(posts: Posts) -> None:
        where = waiting.ask_context(posts.tx, config, task, held, context.home / "files")
        card = asks.ask_card(posts.tx, task, held, where)
        direct.ask(posts, config, context.direct, task, card, key=asks.key(held), right=Right.RELEASE)

    return RefusedForNow(
        ask,
        attempted=f"{call.verb} {held.id}",
        on=call.person.name,
        cause="You cannot release this; an admin was asked."
        if asked
        else "You cannot release this, and no admin has a chat here.",
        hint=f"These people can: {', '.join(known[:6])}." if known else "",
    )


def _demand_shown(tx: Tx, call: Call, asked: Approval, *, allow: bool) -> None:
    """Raises ``Refused`` if the request is not the one that the pressed button, or the newest card, has shown."""
    digest = call.digest
    if not digest and allow:  # every card of a question has this button
        digest = button_rows.shown_digest(tx, call.message.chat, f"/deny {asked.id}")
    if digest and digest != asks.binding(asked):
        raise Refused(
            attempted=f"{call.verb} {asked.id}",
            cause="it changed since this button was shown" if call.digest else "it changed since it was shown",
            hint=f"/waiting {asked.id} shows it as it is now.",
        )


def _meant(tx: Tx, call: Call, word: str) -> Approval | list[Approval]:
    """The approval with this id or of this task; else the only one that was asked in this chat, by the message that
    is replied to or its task. A list: it is not clear which one, and these wait."""
    every = approvals.waiting(tx)
    if word and not word.lower().startswith("t"):
        return approvals.find(tx, word)
    if word or call.task:
        task = find_task(tx, call, word)
        every = [approval for approval in every if approval.task == task.id]
    if not every:
        raise Misused(attempted="find the request", cause="nothing is waiting for a person")
    here = every if word else waiting.asked_in(tx, call.message.chat, every, call.message.reply_to)
    return here[0] if len(here) == 1 else here or every


def _show(context: Context, call: Call, posts: Posts, every: list[Approval]) -> None:
    """Decides nothing: shows what may be meant, with its buttons."""
    posts.conclude(status=Misused.status)
    if len(every) == 1:
        lead = line("Nothing decided yet: this chat had not shown this request.")
        files = context.home / "files"
        waiting.bring_up(posts, context.config(), call.message.chat, every[0], files, lead=lead)
        return
    zone = sounds.zone_of(posts.tx, context.config(), call.actor)
    card = waiting.list_card(posts.tx, "Which one? Nothing decided yet", every, Page.of(1, len(every)), zone)
    posts.post(call.message.chat, card)


def _scope(asked: Approval, rest: str) -> tuple[ApprovalScope, str]:
    """Whether the approval is for the whole session, and the other words."""
    head, more = headed(rest)
    if asked.kind is ApprovalKind.PERMISSION and not asked.questions and head.lower() == "session":
        return ApprovalScope.SESSION, more
    return ApprovalScope.ONCE, rest


def settle(
    context: Context,
    call: Call,
    posts: Posts,
    asked: Approval,
    *,
    allow: bool,
    reason: str,
    scope: ApprovalScope = ApprovalScope.ONCE,
) -> None:
    """Stores a person's decision, updates the cards, and confirms it."""
    tx, answer = posts.tx, allow and bool(asked.questions)
    said = asks.chosen(asked, reason) if answer else reason
    decided = approvals.decide(tx, asked.id, allow, call.actor, said, scope=scope, answer=answer)
    if scope is ApprovalScope.SESSION:
        grants.grant(tx, asked, call.actor)
    waiting.decided(posts, context.config(), decided)
    verb = "answered" if answer else "denied" if not allow else "approved for this session" if scope else "approved"
    posts.post(call.message.chat, Card(line(f"{asked.id} · {verb}")), task=asked.task)
    posts.conclude(task=asked.task)
    tx.after_commit(lambda: context.control.wake(asked.task))


@in_write
def show_waiting(context: Context, call: Call, posts: Posts) -> None:
    """Shows a page of what waits for a person, oldest first; or shows one request again."""
    given = split(call.args)
    tx = posts.tx
    if given and _ID.fullmatch(given[0]):
        asked = approvals.find(tx, given[0])
        if asked not in approvals.waiting(tx):
            raise Refused(
                attempted=f"show {asked.id}", cause=f"it is no longer waiting: {asked.decision or 'expired'}"
            )
        posts.data = {"waiting": [plain.approval(asked)]}
        waiting.bring_up(posts, context.config(), call.message.chat, asked, context.home / "files")
        return
    every = approvals.waiting(tx)
    posts.data = {"waiting": [plain.approval(asked) for asked in every]}
    page, zone = Page.of(wanted(call.args), len(every)), sounds.zone_of(tx, context.config(), call.actor)
    card = waiting.list_card(tx, "Waiting for a person", every, page, zone)
    posts.post(call.message.chat, card)


COMMANDS = (
    Command(
        "waiting", "requests", "requests that wait for a person", "[ID|PAGE]", Right.SEE, show_waiting, Group.DECIDE
    ),
    Command(
        "approve",
        "one",
        "approve a request",
        "[ID] [session] [WHY]",
        Right.APPROVE,
        approve,
        Group.DECIDE,
        aliases=("yes",),
        checks_right=True,
    ),
    Command(
        "deny",
        "one",
        "deny a request",
        "[ID] [WHY]",
        Right.APPROVE,
        deny,
        Group.DECIDE,
        aliases=("no",),
        urgent=True,
        checks_right=True,
    ),
)
