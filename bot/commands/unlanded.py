"""``/unlanded``: every change that did not land, wherever it is, and what becomes of it."""

from __future__ import annotations

from functools import partial
from typing import Final

from bot import unlanded as view
from bot import words
from bot.cards import Action, Card, Tone, footed, line, one_line
from bot.commands.common import find_task, reply
from bot.outbox.posting import Posts
from bot.pages import Page, wanted
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.telling import buttons
from fleet.errors import Refused, Unavailable
from fleet.events import TreeDecision
from fleet.model import ENDS, Task
from fleet.store import trees
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from fleet.store.trees import Unlanded
from gates.people import Right, demand

_ROWS: Final = 8
_RIGHTS: Final = {"go": Right.STEER, "land": Right.RUN, "keep": Right.RUN, "delete": Right.DELETE}


async def unlanded(context: Context, call: Call) -> Effect:
    """The list, one tree, or a decision about one."""
    given = split(call.args)
    verb = given[0].lower() if given else ""
    if verb in _RIGHTS:
        demand(call.person, _RIGHTS[verb], attempted=f"{verb} work that did not land")
        task = await context.store.read(lambda tx: find_task(tx, call, given[1] if len(given) > 1 else ""))
        match verb:
            case "keep":
                return partial(_keep, context, call, task, await _unreadable(context, task))
            case "delete" if given[2:3] == ["yes"]:
                return partial(_delete, context, call, task)
            case "delete":
                return reply(call, await context.store.read(lambda tx: _question(tx, task)), task=task.id)
            case "land":
                away = await _unreadable(context, task)
                return partial(_continue, context, call, task, (ApprovalDecision.JUDGE, away))
            case _:
                return partial(_continue, context, call, task, (ApprovalDecision.GO_ON, ""))
    if given and not given[0].isdigit():
        named = await context.store.read(lambda tx: find_task(tx, call, given[0]))
        card = await context.store.read(lambda tx: view.tree_card(tx, trees.of_task(tx, named)))
        return reply(call, card, task=named.id)
    isolation = context.config().isolation

    def read(tx: Tx) -> tuple[Card, list[dict[str, object]]]:
        page = Page.of(wanted(call.args), trees.count(tx), _ROWS)
        found = trees.unlanded(tx, first=page.first, limit=page.upto - page.first)
        return view.list_card(tx, found, page, isolation), [view.plain(tx, tree) for tree in trees.unlanded(tx)]

    card, every = await context.store.read(read)
    data = {"v": 1, "unlanded": every}
    return reply(call, card, data=data)


async def _unreadable(context: Context, task: Task) -> str:
    """Takes a snapshot of the worktree as it is now; returns why that is not possible, empty if it was."""
    if task.state not in ENDS:
        return ""
    try:
        await context.control.save_work(task.id)
    except (Refused, Unavailable) as error:
        return error.cause or str(error)
    return ""


def _continue(context: Context, call: Call, task: Task, choice: tuple[ApprovalDecision, str], posts: Posts) -> None:
    tx, (decision, away) = posts.tx, choice
    if task.state not in ENDS:
        verb = "go" if decision is ApprovalDecision.GO_ON else "judge"
        raise Refused(
            attempted=f"continue {task.id}",
            cause=f"it has not ended: it is {task.state}",
            hint=f"/{verb} {task.id}",
        )
    trees.go_on(tx, task, decision, call.actor)
    said = "the agent continues" if decision is ApprovalDecision.GO_ON else "the gates run on its work"
    buttons.withdraw(posts, task.origin, f"/retry {task.id}")
    lines = (line("Its newest snapshot is judged; the worktree is not readable: ", one_line(away)),) if away else ()
    posts.post(
        call.message.chat,
        Card(line(f"{task.id} · {said}"), lines, footer=footed(context.config().isolation), tone=Tone.WORKING),
        task=task.id,
    )
    posts.conclude(task=task.id)
    tx.after_commit(lambda: context.control.wake(task.id))


def _keep(context: Context, call: Call, task: Task, away: str, posts: Posts) -> None:
    tree = trees.of_task(posts.tx, task)
    trees.decide(posts.tx, tree, TreeDecision.KEEP, call.actor)
    saved = f"Snapshot {words.short(tree.commit)} holds it." if tree.commit else "No snapshot holds it yet."
    lines = [line(saved), line("It stays until you delete it.")]
    if away:
        lines.insert(1, line("The worktree cannot be read now: ", one_line(away)))
    card = Card(line(f"{task.id} · kept"), tuple(lines), footer=footed(tree.session.isolation), tone=Tone.GOOD)
    posts.post(call.message.chat, card, task=task.id)
    posts.tx.after_commit(context.control.tend_work)


def _question(tx: Tx, task: Task) -> Card:
    tree = trees.of_task(tx, task)
    return Card(
        line(f"Delete the work of {task.id}?"),
        (line(view.where(tree)), line("It cannot be brought back. The ledger keeps what was done.")),
        actions=(Action("Delete it", f"/unlanded delete {task.id} yes", digest=_binding(tree)),),
        footer=footed(tree.session.isolation),
        tone=Tone.WAITING,
        choice=True,
    )


def _delete(context: Context, call: Call, task: Task, posts: Posts) -> None:
    tree = trees.of_task(posts.tx, task)
    if call.digest and call.digest != _binding(tree):
        raise Refused(
            attempted=f"delete the work of {task.id}",
            cause="it changed after this button was shown",
            hint=f"/unlanded {task.id} shows it as it is now.",
        )
    trees.decide(posts.tx, tree, TreeDecision.DELETE, call.actor)
    card = Card(line(f"{task.id} · its work is being deleted"), (line(view.where(tree)),), tone=Tone.WORKING)
    posts.post(call.message.chat, card, task=task.id)
    posts.tx.after_commit(context.control.tend_work)


def _binding(tree: Unlanded) -> str:
    return f"{tree.session.id}:{tree.commit or 'none'}"


COMMANDS = (
    Command(
        "unlanded",
        "changes",
        "changes that did not land",
        "[go|land|keep|delete] [TASK|PAGE]",
        Right.SEE,
        unlanded,
        Group.REPORTS,
    ),
)
