"""The part of a held change's card that is about secrets: where they are, and what a person can do."""

from __future__ import annotations

from typing import Final

from bot.cards import Action, Line, capped, line, one_line
from fleet import leaks
from fleet.leaks import Leak
from fleet.model import Task
from fleet.store.approvals import Approval
from fleet.untrusted import Untrusted

_SHOWN: Final = 4
_ADVICE: Final = "Remove it from the change and read it from the environment instead."


def lines(held: Approval) -> tuple[Line, ...]:
    """Each place, the values masked; then what else the change is held for."""
    found = [line(one_line(str(leak), 120)) for leak in leaks.from_json(held.request)]
    others = "; ".join(part for part in held.reason.split("; ") if not part.startswith(leaks.REASONS))
    also = (line("Also: ", one_line(others, 200)),) if others else ()
    return (*capped(found, "and {n} more places", limit=_SHOWN), *also)


def title(held: Approval) -> str:
    """Why it is held, in a few words."""
    seen = any(map(_seen, leaks.from_json(held.request)))
    return "held: it adds a secret" if seen else "held: not all was searched"


def _seen(leak: Leak) -> bool:
    return not leak.unsearched


def actions(task: Task, held: Approval, digest: str) -> tuple[Action, ...]:
    """Buttons: to release it, to send it back, to stop."""
    found = leaks.from_json(held.request)
    words = f"Your change adds a secret: {', '.join(map(_place, found[:_SHOWN]))}. {_ADVICE}"
    if not any(map(_seen, found)):
        words = f"Your change is too large to be searched for secrets: {found[0]}. Leave large files out."
    return (
        Action("Release", f"/approve {held.id}", digest=digest),
        Action("Send back to agent", f"/say {task.id} {words}"),
        Action("Stop", f"/stop {task.id}"),
    )


def _place(leak: Leak) -> str:
    path = Untrusted(leak.path).one_line(80)
    return f"{path}:{leak.line}" if leak.line else path
