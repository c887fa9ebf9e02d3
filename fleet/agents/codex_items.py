"""Codex's thread items as tool calls: which are tools, and how each ended."""

from __future__ import annotations

from typing import Any

from fleet.agent_events import ToolEnded, ToolOutcome, ToolStarted
from fleet.agents.lines import (
    RAW_LIMIT,
    Fold,
    canonical,
    cut,
    digest,
    ends,
    exit_status,
    mapping,
    one_line,
    size_of,
    string,
)

_TOOLS = {
    "commandExecution": "exec_command",
    "fileChange": "apply_patch",
    "mcpToolCall": "mcp",
    "dynamicToolCall": "dynamic",
    "collabAgentToolCall": "subagent",
    "webSearch": "web_search",
    "imageView": "view_image",
    "imageGeneration": "image_generation",
}


def start_item(fold: Fold, item: dict[str, Any], parent: str) -> None:
    """A tool's item started; other items (text, reasoning) are reported when complete. ``parent``: a subagent's
    thread."""
    kind, call = string(item["type"]), string(item["id"])
    if kind == "fileChange":
        fold.state["changes"][call] = item["changes"]
    if kind in _TOOLS and call not in fold.state["tools"]:
        fold.state["tools"][call] = True
        started = ToolStarted(call, _name(kind, item), _summary(kind, item), _fingerprint(kind, item), parent)
        fold.report(started)


def end_item(fold: Fold, item: dict[str, Any], parent: str) -> None:
    """A tool's item is complete."""
    kind, call = string(item["type"]), string(item["id"])
    if kind not in _TOOLS:
        return
    start_item(fold, item, parent)  # an item may arrive already complete
    fold.state["tools"].pop(call, None)
    fold.state["changes"].pop(call, None)
    code = exit_status(item.get("exitCode"))
    output = item.get("aggregatedOutput")
    size = size_of(output) if isinstance(output, str) else None
    fold.report(ToolEnded(call, _outcome(item, code), code, _detail(kind, item), size))


def paths_of(changes: list[dict[str, Any]]) -> tuple[str, ...]:
    """Every path that a patch changes, including a moved file's new name."""
    paths: list[str] = []
    for change in changes:
        paths.append(string(change["path"]))
        kind = change.get("kind")
        moved = kind.get("move_path") if isinstance(kind, dict) else None
        if isinstance(moved, str):
            paths.append(moved)
    return tuple(dict.fromkeys(paths))


def _outcome(item: dict[str, Any], code: int | None) -> ToolOutcome:
    status = item.get("status")
    if status == "declined":
        return ToolOutcome.DENIED
    failed = status == "failed" or item.get("success") is False or code not in (None, 0)
    return ToolOutcome.FAILED if failed else ToolOutcome.OK


def _name(kind: str, item: dict[str, Any]) -> str:
    if kind == "mcpToolCall":
        return f"mcp__{item['server']}__{item['tool']}"
    if kind in ("dynamicToolCall", "collabAgentToolCall"):
        return string(item["tool"])
    return _TOOLS[kind]


def _fingerprint(kind: str, item: dict[str, Any]) -> str:
    if kind == "fileChange":
        return ""
    return digest([kind, *(item.get(name) for name in ("tool", "command", "cwd", "arguments", "query", "prompt"))])


def _summary(kind: str, item: dict[str, Any]) -> str:
    match kind:
        case "commandExecution":
            return one_line(string(item["command"]))
        case "fileChange":
            return one_line(", ".join(paths_of(item["changes"])))
    given = item.get("arguments") or item.get("query") or item.get("prompt")
    return one_line(canonical(given)) if given else ""


def _detail(kind: str, item: dict[str, Any]) -> str:
    if kind == "commandExecution":
        output = item.get("aggregatedOutput")
        return ends(output, RAW_LIMIT) if isinstance(output, str) else ""
    error = item.get("error")
    return cut(str(mapping(error).get("message", "")), RAW_LIMIT) if error is not None else ""
