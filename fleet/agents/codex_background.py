"""Codex's background work: commands and subagents that are still at work when its turn is complete.

A command that outlives its call goes on as a background terminal; its item completes when it ends, also after
the turn. A subagent is a thread of its own, whose turn may outlast ours. Neither wakes Codex up, so the turn's end
is held back here and follows the last of them.
"""

from __future__ import annotations

from typing import Any, Final

from fleet.agents.lines import HELD_BACK, Fold, one_line, string

_AT_WORK: Final = ("pendingInit", "running")
_NAMELESS: Final = "a subagent"


def note_item(fold: Fold, params: dict[str, Any], item: dict[str, Any], *, over: bool) -> None:
    """A command begins or ends; a call about subagents says how they are."""
    match item["type"]:
        case "commandExecution":
            key = f"{params.get('threadId')} {string(item['id'])}"
            _note(fold, "commands", key, "" if over else one_line(_told(item.get("command")) or "a command"))
        case "collabAgentToolCall" if over:
            states = item.get("agentsStates")
            for thread, said in (states if isinstance(states, dict) else {}).items():
                if not isinstance(said, dict) or said.get("status") not in _AT_WORK:
                    _note(fold, "subagents", thread, "")
                elif fold.state.get("subagents", {}).get(thread) in (
                    None,
                    _NAMELESS,
                ):  # its turn begins later, or did
                    _note(fold, "subagents", thread, one_line(f"subagent: {_told(item.get('prompt'))}"))


def note_turn(fold: Fold, thread: Any, *, over: bool) -> None:
    """The turn of a subagent begins or ends."""
    known = fold.state.get("subagents", {}).get(thread)
    _note(fold, "subagents", string(thread), "" if over else known or _NAMELESS)


def forget_commands(fold: Fold, thread: Any) -> None:
    """A turn did not complete: the item of a command that still waited for its yes never will."""
    open_ = fold.state.get("commands", {})
    fold.state["commands"] = {key: words for key, words in open_.items() if not key.startswith(f"{thread} ")}


def hold_back(fold: Fold, claim: str) -> bool:
    """Keeps the end of a completed turn while something is open; False when nothing is."""
    work = _open(fold)
    fold.state[HELD_BACK] = {"claim": claim, "open": work} if work else {}
    return bool(work)


def let_go(fold: Fold) -> str | None:
    """The claim of a held turn that nothing keeps open any more, once."""
    held = fold.state.get(HELD_BACK)
    if not held or hold_back(fold, held["claim"]):
        return None
    return string(held["claim"])


def _note(fold: Fold, kind: str, key: str, words: str) -> None:
    """An entry with words is open. A subagent that is over is remembered: what is said of it may come late."""
    known = fold.state.setdefault(kind, {})
    if words or kind == "subagents":
        known[key] = words
    else:
        known.pop(key, None)


def _open(fold: Fold) -> list[str]:
    kinds = (fold.state.get(kind, {}) for kind in ("commands", "subagents"))
    return [words for known in kinds for words in known.values() if words]


def _told(words: Any) -> str:
    return words if isinstance(words, str) else ""
