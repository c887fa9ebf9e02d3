"""What Claude Code says it used: tokens with each answer of the model, the cost with a turn's result."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from fleet.agent_events import Used
from fleet.agents.lines import Fold, count

_NAME_LIMIT: Final = 100
_TAKEN: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_REQUESTS_KEPT: Final = 8
"""Requests to the model whose tokens are known: as many as subagents may run at once."""


def stream_usage(fold: Fold, request: dict[str, Any]) -> None:
    """Reports the tokens of a request to the model while the turn runs. The result has the rest, and the cost."""
    usage, name = request.get("usage"), request.get("id")
    if not isinstance(usage, dict) or not isinstance(name, str):
        return
    name = name[:_NAME_LIMIT]
    now = [sum(count(usage.get(each)) for each in _TAKEN), count(usage.get("output_tokens"))]
    streamed = fold.state.get("streamed", {})
    before = streamed.get(name, [0, 0])
    used = [max(0, new - old) for new, old in zip(now, before, strict=True)]
    kept = [(each, seen) for each, seen in streamed.items() if each != name][1 - _REQUESTS_KEPT :]
    fold.state["streamed"] = {**dict(kept), name: [max(pair) for pair in zip(now, before, strict=True)]}
    if any(used):
        fold.state["input"] += used[0]
        fold.state["output"] += used[1]
        fold.report(Used(used[0], used[1], 0))


def report_usage(fold: Fold, message: dict[str, Any]) -> None:
    """Reports the rest of a turn's tokens, and its cost."""
    state, models = fold.state, message.get("modelUsage")
    models = [each for each in models.values() if isinstance(each, dict)] if isinstance(models, dict) else []
    taken = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    now = {
        "input": sum(count(model.get(name)) for model in models for name in taken),
        "output": sum(count(model.get("outputTokens")) for model in models),
        "cost": _micro_dollars(message.get("total_cost_usd")),
    }
    used = {name: max(0, now[name] - state[name]) for name in now}
    state.update({name: max(now[name], state[name]) for name in now})
    if any(used.values()):
        fold.report(Used(used["input"], used["output"], used["cost"]))


def _micro_dollars(dollars: Any) -> int:
    if type(dollars) not in (int, float):
        return 0
    return count(int((Decimal(str(dollars)) * 1_000_000).to_integral_value(ROUND_HALF_EVEN)))
