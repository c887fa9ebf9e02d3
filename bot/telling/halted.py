"""The card of a task that was halted: its budget is used up, or it makes no progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.cards import Action, Card, Field, Line, Tone, line, one_line
from fleet.model import Task, TaskMode
from fleet.store.approvals import Approval
from fleet.store.halts import Halt
from fleet.store.states import HaltCause

TITLES: Final = {
    HaltCause.BUDGET: "budget used up",
    HaltCause.REPEATS: "no progress",
    HaltCause.SAME_FAILURE: "no progress",
    HaltCause.BY_HAND: "worked on by hand",
}


def card(task: Task, stall: Approval, halt: Halt, *, digest: str, fields: Sequence[Field], base: str) -> Card:
    """What halted it, what became of the work, and what a person can do. ``digest`` binds the buttons."""
    lines: list[Line] = [line(one_line(f"{halt.words[:1].upper()}{halt.words[1:]}", 240), ".")]
    if stall.request:
        lines.append(line("The work is kept, without a snapshot: ", one_line(stall.request, 160)))
    elif task.mode is TaskMode.CHANGE:
        lines.append(line("The work is kept." if stall.commit else "No file was changed."))
    return Card(
        title=line(f"{task.id} · {stall.id} · {TITLES[halt.cause]}"),
        lines=tuple(lines),
        fields=tuple(fields),
        actions=tuple(_actions(task, stall, halt, digest)),
        footer=base,
        tone=Tone.WAITING,
        mention=task.requester,
    )


def _actions(task: Task, stall: Approval, halt: Halt, digest: str) -> list[Action]:
    spent = halt.cause is HaltCause.BUDGET
    more = Action("More", f"/go {task.id} more", digest=digest)
    go_on = Action("Go on", f"/go {task.id}", digest=digest)
    judge = Action("Land what passes" if spent else "Judge as it is", f"/judge {task.id}", digest=digest)
    stop = Action("Stop", f"/stop {task.id}")
    diff = Action("Diff", f"/diff {task.id}", once=False)
    return [more if spent else go_on, *([judge] if stall.commit else []), stop, *([diff] if stall.commit else [])]
