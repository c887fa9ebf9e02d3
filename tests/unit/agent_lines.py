"""Lines as the two agents write them, cut to what matters; seen with claude 2.1.197 and codex 0.169.0."""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, Any]


def line(message: Message) -> bytes:
    return json.dumps(message).encode()


# --- Claude Code -----------------------------------------------------------------------------------------

CONFIRMED: Message = {
    "type": "control_response",
    "response": {"subtype": "success", "request_id": "airboss-initialize", "response": {}},
}
INIT: Message = {"type": "system", "subtype": "init", "session_id": "s1", "model": "opus", "tools": []}


def heard(text: str) -> Message:
    return {"type": "user", "isReplay": True, "message": {"role": "user", "content": text}}


def assistant(*blocks: Message, parent: str | None = None) -> Message:
    return {"type": "assistant", "parent_tool_use_id": parent, "message": {"content": list(blocks)}}


def tool_use(call: str, tool: str, **given: Any) -> Message:
    return {"type": "tool_use", "id": call, "name": tool, "input": given}


def text(words: str) -> Message:
    return {"type": "text", "text": words}


def tool_result(call: str, content: Any, *, is_error: bool = False) -> Message:
    block = {"type": "tool_result", "tool_use_id": call, "content": content, "is_error": is_error}
    return {"type": "user", "message": {"role": "user", "content": [block]}}


def hook(request: str, call: str, tool: str, **given: Any) -> Message:
    inner = {"hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": given, "tool_use_id": call}
    body = {"subtype": "hook_callback", "callback_id": "airboss", "input": inner}
    return {"type": "control_request", "request_id": request, "request": body}


def can_use(request: str, call: str, tool: str, **given: Any) -> Message:
    body = {"subtype": "can_use_tool", "tool_name": tool, "input": given, "tool_use_id": call}
    return {"type": "control_request", "request_id": request, "request": body}


def result(
    words: str = "done", *, cost: float = 0.0, tokens: tuple[int, int] = (0, 0), is_error: bool = False
) -> Message:
    usage = {"m": {"inputTokens": tokens[0], "outputTokens": tokens[1]}}
    return {
        "type": "result",
        "subtype": "success",
        "is_error": is_error,
        "result": words,
        "total_cost_usd": cost,
        "modelUsage": usage,
    }


# --- Codex -----------------------------------------------------------------------------------------------


def answered(number: int, **body: Any) -> Message:
    return {"id": number, "result": body}


def refused(number: int, words: str) -> Message:
    return {"id": number, "error": {"code": -32600, "message": words}}


def notice(method: str, thread: str = "t1", **params: Any) -> Message:
    return {"method": method, "params": {"threadId": thread, **params}}


def item(event: str, thread: str = "t1", **fields: Any) -> Message:
    return notice(f"item/{event}", thread, item=fields)


def command_item(event: str, call: str, command: str, status: str, code: int | None, thread: str = "t1") -> Message:
    fields = {"type": "commandExecution", "id": call, "command": command, "status": status, "exitCode": code}
    return item(event, thread, **fields, aggregatedOutput="out")


def question(number: int, method: str, call: str, **params: Any) -> Message:
    return {"id": number, **notice(f"item/{method}/requestApproval", turnId="u1", itemId=call, **params)}


def tokens(total: tuple[int, int], last: tuple[int, int]) -> Message:
    names = ("inputTokens", "outputTokens")
    usage = {"total": dict(zip(names, total, strict=True)), "last": dict(zip(names, last, strict=True))}
    return notice("thread/tokenUsage/updated", turnId="u1", tokenUsage=usage)


def turn_over(status: str = "completed", thread: str = "t1", words: str = "") -> Message:
    error = {"message": words} if words else None
    return notice("turn/completed", thread, turn={"id": "u1", "status": status, "error": error})


# --- the Agent Client Protocol -------------------------------------------------------------------------------

ACP_OPTIONS = [
    {"kind": "allow_always", "optionId": "yes-always", "name": "Always"},
    {"kind": "allow_once", "optionId": "yes-once", "name": "Yes"},
    {"kind": "reject_once", "optionId": "no-once", "name": "No"},
]


def acp_update(what: str, /, **fields: Any) -> Message:
    params = {"sessionId": "s1", "update": {"sessionUpdate": what, **fields}}
    return {"jsonrpc": "2.0", "method": "session/update", "params": params}


def acp_asks(number: int, call: str, options: list[Message] = ACP_OPTIONS, **fields: Any) -> Message:
    params = {"sessionId": "s1", "toolCall": {"toolCallId": call, **fields}, "options": options}
    return {"jsonrpc": "2.0", "id": number, "method": "session/request_permission", "params": params}


def acp_answer(number: int, **result: Any) -> Message:
    return {"jsonrpc": "2.0", "id": number, "result": result}
