"""``/attach``: who works by hand in a task's session; ends that. The terminal itself is ``airboss attach``."""

from __future__ import annotations

from functools import partial

from bot import words
from bot.cards import Action, Card, Line, Tone, line
from bot.commands.common import find_task
from bot.outbox.posting import Posts
from bot.parse import keyword
from bot.parse import words as split
from bot.registry import Call, Command, Context, Group, in_write
from bot.telling.progress import bare_footer
from fleet.store import takeovers
from gates.people import Right

_END = "end"


@in_write
def attach(context: Context, call: Call, posts: Posts) -> None:
    """Shows who has the task in hand, or how to take it; with ``end`` the fleet takes over again."""
    given = split(call.args)
    ends = [keyword(word) for word in given[-1:]] == [_END]
    named = given[0] if given and not (ends and len(given) == 1) else ""
    tx = posts.tx
    task = find_task(tx, call, named)
    if ends:
        takeovers.end(tx, task.id)
        tx.after_commit(partial(context.control.wake, task.id))
    known = takeovers.current(tx, task.id)
    actions: tuple[Action, ...] = ()
    if ends:
        lines: list[Line] = [line("The agent's own interface is closed; the fleet takes over.")]
    elif known is None:
        takeovers.demand_may(tx, task, f"take {task.id} over")
        lines = [
            line(f"On the controller's machine: airboss attach {task.id}"),
            line("The agent steps aside, and its own interface opens there."),
        ]
    else:
        lines = [line(f"{known.words}, for {words.about(tx.now_us() - known.since_us)}.")]
        lines.append(line(f"Join in: airboss attach {task.id}"))
        actions = (Action("Hand back", f"/attach {task.id} {_END}"),)
    base = bare_footer(task, context.config())
    card = Card(line(f"{task.id} · by hand"), tuple(lines), actions=actions, footer=base, tone=Tone.WAITING)
    posts.post(call.message.chat, card, task=task.id)
    posts.conclude(task=task.id)


COMMANDS = (
    Command("attach", "", "work in an agent's session yourself", "[TASK] [end]", Right.STEER, attach, Group.DECIDE),
)
