"""Codex's reports of tokens: running sums of each thread, of which only what is new counts."""

from __future__ import annotations

from typing import Any

from fleet.agent_events import Used
from fleet.agents.lines import Fold, count, mapping


def report_subagent_usage(fold: Fold, thread: str, usage: dict[str, Any]) -> None:
    """A subagent's thread may begin with a copy of ours: what it used since it was first heard of counts."""
    total, last = mapping(usage["total"]), mapping(usage["last"])
    now = [count(total.get(name)) for name in ("inputTokens", "outputTokens")]
    before = fold.state.setdefault("spent_by", {}).get(thread)
    if before is None:
        before = [now[0] - count(last.get("inputTokens")), now[1] - count(last.get("outputTokens"))]
    used = [max(0, new - old) for new, old in zip(now, before, strict=True)]
    fold.state["spent_by"][thread] = [max(new, old) for new, old in zip(now, before, strict=True)]
    if any(used):
        fold.report(Used(used[0], used[1], 0))


def report_usage(fold: Fold, usage: dict[str, Any]) -> None:
    state, total, last = fold.state, mapping(usage["total"]), mapping(usage["last"])
    now = {"input": count(total.get("inputTokens")), "output": count(total.get("outputTokens"))}
    if not state["counted"]:
        # A resumed thread's total includes earlier processes, which have reported their part.
        state["counted"] = True
        working = bool(state["turn"])
        state["input"] = now["input"] - (count(last.get("inputTokens")) if working else 0)
        state["output"] = now["output"] - (count(last.get("outputTokens")) if working else 0)
    used = {name: max(0, now[name] - state[name]) for name in now}
    state.update({name: max(now[name], state[name]) for name in now})
    if any(used.values()):
        fold.report(Used(used["input"], used["output"], 0))
