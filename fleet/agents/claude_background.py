"""Claude Code's background work: what is open when the agent says that it is done.

A turn is over when our words were taken up, a result came for them, and no background work is open. Until then the
result is held back in the driver's state.
"""

from __future__ import annotations

from typing import Any, Final

from fleet.agent_events import TurnOutcome
from fleet.agents.lines import HELD_BACK, Fold, one_line, string

_OVER: Final = ("completed", "failed", "killed", "stopped", "cancelled", "error")


def read_task(fold: Fold, message: dict[str, Any]) -> bool:
    """A ``system`` line about background work; False for another line."""
    open_ = fold.state.setdefault("background", {})
    match message.get("subtype"):
        case "task_started":
            words = message.get("description")
            open_[string(message["task_id"])] = one_line(words if isinstance(words, str) else "")
        case "task_updated":
            patch = message.get("patch")
            if isinstance(patch, dict) and patch.get("status") in _OVER:
                open_.pop(string(message["task_id"]), None)
        case "task_notification":
            open_.pop(string(message["task_id"]), None)
            fold.state["notified"] = True
        case "task_progress":
            pass
        case _:
            return False
    return True


def hold_back(fold: Fold, claim: str, outcome: TurnOutcome, error: str) -> bool:
    """Keeps a result whose background work is still open, instead of ending the turn with it."""
    fold.state[HELD_BACK] = {}
    if outcome is not TurnOutcome.COMPLETED or not fold.state.get("background"):
        return False
    fold.state[HELD_BACK] = {"claim": claim, "error": error, "open": list(fold.state["background"].values())}
    return True
