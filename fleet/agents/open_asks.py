"""The questions of an agent that are open, for every driver whose agent asks: by our names, with the agent's ids.

An agent cannot tell answers apart that have one id. So a question with the id of an open one takes its place, under
another name: what a person says to the first never answers the second.
"""

from __future__ import annotations

from typing import Any, Final

from fleet.agent_events import TakenBack
from fleet.agents.lines import Fold

_GONE: Final = "taken_back"
_GONE_KEPT: Final = 50


def keep(fold: Fold, name: str, asked: dict[str, Any]) -> str:
    """Keeps an open question, with its ``id`` and a ``digest`` of what it asks, and returns its name: ``name``, or
    one like it if that was taken. Empty: it is open already, and was only sent again."""
    asks = fold.state["asks"]
    for known, each in asks.items():
        if each.get("id", known) == asked["id"]:
            if each.get("digest") == asked["digest"]:
                return ""
            break
    take_back(fold, asked["id"])
    free, number = name, 1
    while free in asks or free in fold.state.get(_GONE, ()):
        free, number = f"{name}+{number}", number + 1
    asks[free] = asked
    return free


def take_back(fold: Fold, agents_id: object) -> None:
    """The agent does not wait for an answer with this id any more."""
    asks, gone = fold.state["asks"], fold.state.get(_GONE, [])
    for name in [name for name, each in asks.items() if each.get("id", name) == agents_id]:
        asks.pop(name)
        gone = [*gone, name][-_GONE_KEPT:]
        fold.report(TakenBack(name))
    if gone:
        fold.state[_GONE] = gone
