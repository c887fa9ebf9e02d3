"""Claude Code over its stdio control protocol, both ways: one JSON object per line.

A hook asks about each edit and shell command, in every permission mode; other permission requests come as
``can_use_tool``. The agent echoes messages (``--replay-user-messages``) when it reads them, which tells messages
that steered a turn from messages that start another one.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from typing import Any

from fleet.agent_events import (
    Act,
    Allow,
    Decision,
    Deny,
    Ready,
    Said,
    ToolEnded,
    ToolOutcome,
    ToolStarted,
    TurnEnded,
    TurnOutcome,
)
from fleet.agents.acts import CLAUDE, act_of, ask_rules
from fleet.agents.claude_asks import EDITS, PLAN, answer, read_cancel, read_question, refuse
from fleet.agents.claude_background import hold_back, read_task
from fleet.agents.claude_usage import report_usage, stream_usage
from fleet.agents.lines import (
    HELD_BACK,
    RAW_LIMIT,
    WORDS_LIMIT,
    Fold,
    MessageDriver,
    as_words,
    canonical,
    cut,
    digest,
    ends,
    mapping,
    one_line,
    size_of,
    string,
    window,
    with_attachments,
)
from fleet.agents.refusals import of_claude
from fleet.ports import Brief, DriverState, Launch, Step

_HOOKED = (*EDITS, "Bash", "mcp__.*", PLAN)
"""What the hook always asks about; the operator's rules add to it."""
_WINDOWS = {"five_hour": "5 h", "seven_day": "7 d", "seven_day_opus": "7 d Opus", "seven_day_sonnet": "7 d Sonnet"}
_SOONEST, _LATEST = 10**9, 10**10 - 1
"""Seconds since the epoch that can be a reset hour; anything else is not shown as one."""
_HOOK = "airboss"
_HOOK_STOPPED = "a hook of the agent's login ended the turn"
_HOOK_SECONDS = 7 * 24 * 3600  # the agent denies when a hook times out, and people may be slow
_INITIALIZE = "airboss-initialize"
_QUIET = ("thinking_tokens", "status", "compact_boundary")
"""Kinds of ``system`` lines that say how far something is; what comes of it is said by other lines."""

_READING = "Read,Glob,Grep,WebFetch,WebSearch,AskUserQuestion"
_EXIT_CODE = re.compile(r"Exit code (\d{1,3})\b")


class ClaudeDriver(MessageDriver):
    """Claude Code: one process for a session's turns, ``--resume`` for a later process."""

    name = "claude"
    ends_itself = True

    def launch(self, brief: Brief) -> Launch:
        """Print mode with both streams as JSON. The repository's settings are not read."""
        argv = [
            *brief.program,
            "-p",
            *("--output-format", "stream-json", "--input-format", "stream-json", "--verbose"),
            *("--replay-user-messages", "--permission-prompt-tool", "stdio", "--setting-sources", "user"),
        ]
        argv += ["--resume", brief.resume] if brief.resume else ["--session-id", brief.conversation]
        if brief.model:
            argv += ["--model", brief.model]
        if brief.read_only:
            argv += ["--tools", _READING, "--strict-mcp-config"]
        return Launch(tuple(argv), {}, one_turn=False)

    def open(self, brief: Brief) -> Step:
        """Installs the hook; the prompt follows once the agent has confirmed it."""
        fold = Fold(
            {
                "confirmed": False,
                "waiting": [_first_words(brief)],
                "unheard": [],
                "assumed": [],
                "blocked": "",
                "running": True,
                "begun": False,
                "resume": "",
                "asks": {},
                "allowed": {},
                "denied": {},
                "tools": {},
                "cost": 0,
                "input": 0,
                "output": 0,
                "requests": 0,
                "interrupted": False,
                "trouble": "",
            }
        )
        hook = {"matcher": _hooked(brief.ask), "hookCallbackIds": [_HOOK], "timeout": _HOOK_SECONDS}
        request = {"subtype": "initialize", "hooks": {"PreToolUse": [hook]}}
        fold.send({"type": "control_request", "request_id": _INITIALIZE, "request": request})
        return fold.step()

    def _read(self, fold: Fold, message: dict[str, Any]) -> bool:
        return _READERS[string(message["type"])](fold, message)

    def _refuse(self, fold: Fold, message: dict[str, Any]) -> None:
        refuse(fold, message)

    def say(self, state: DriverState, text: str) -> Step:
        """Steers the running turn, or starts the next one. Messages that arrive too late start a turn
        themselves."""
        fold = Fold(state)
        fold.state["running"] = True
        fold.state[HELD_BACK] = {}
        fold.state["waiting"].append(as_words(text))
        _send_waiting(fold)
        return fold.step()

    def decide(self, state: DriverState, ask: str, decision: Decision) -> Step:
        """Answers a hook or a permission request."""
        if ask not in state["asks"]:
            return Step(state)
        fold = Fold(state)
        asked = fold.state["asks"].pop(ask)
        match decision:
            case Allow():
                fold.state["allowed"][asked["call"]] = asked["digest"]
            case Deny():
                fold.state["denied"][asked["call"]] = True
        answer(fold, ask, asked, decision)
        return fold.step()

    def interrupt(self, state: DriverState) -> Step:
        """Asks for the end of the turn: its result will be an error. A turn that was not sent yet ends
        immediately."""
        if not state["running"]:
            return Step(state)
        fold = Fold(state)
        if not state["confirmed"]:
            fold.state.update(running=False, waiting=[])
            fold.report(TurnEnded("", TurnOutcome.FAILED, "interrupted"))
            return fold.step()
        fold.state["interrupted"] = True
        fold.state["requests"] += 1
        name = f"airboss-{fold.state['requests']}"
        fold.send({"type": "control_request", "request_id": name, "request": {"subtype": "interrupt"}})
        return fold.step()

    def _end(self, fold: Fold, ended: TurnEnded) -> None:
        fold.state["running"] = False
        fold.report(ended)


def _hooked(words: tuple[str, ...]) -> str:
    rules = ask_rules("claude", words)
    return "|".join(dict.fromkeys((*_HOOKED, *(tool for tool, act in CLAUDE.items() if rules.cover(act, tool)))))


def _first_words(brief: Brief) -> str | list[dict[str, Any]]:
    """The prompt as text, or as a list of blocks when there are pictures."""
    text = as_words(with_attachments(brief.prompt, brief.attachments))
    if not brief.images:
        return text
    sources = (
        {"type": "base64", "media_type": image.media_type, "data": b64encode(image.data).decode()}
        for image in brief.images
    )
    return [{"type": "text", "text": text}, *({"type": "image", "source": source} for source in sources)]


def _send_waiting(fold: Fold) -> None:
    if not fold.state["confirmed"]:
        return
    for content in fold.state["waiting"]:
        message = {"role": "user", "content": content}
        fold.send({"type": "user", "message": message, "parent_tool_use_id": None})
        fold.state["unheard"].append(digest(content))
    fold.state["waiting"] = []


def _read_system(fold: Fold, message: dict[str, Any]) -> bool:
    subtype = message.get("subtype")
    if subtype == "informational" and message.get("prevent_continuation") is True:
        fold.state["blocked"] = cut(string(message["content"]), WORDS_LIMIT)  # a hook took our words away
        if not fold.state.get("assumed"):
            fold.state["unheard"] = fold.state["unheard"][1:]
        fold.state["assumed"] = []
        return True
    if subtype != "init":
        return subtype in _QUIET or read_task(fold, message)
    resume = string(message["session_id"])
    if not fold.state["begun"]:
        fold.state["begun"] = True
        # The agent takes up a message when it starts a turn, unless it starts one for something of its own.
        fold.state["assumed"] = [] if fold.state.get("notified") else fold.state["unheard"][:1]
        fold.state["unheard"] = fold.state["unheard"][len(fold.state["assumed"]) :]
    if fold.state["resume"] != resume:
        fold.state["resume"] = resume
        model = message.get("model")
        fold.report(Ready(resume=resume, model=model if isinstance(model, str) else ""))
    return True


def _read_assistant(fold: Fold, message: dict[str, Any]) -> bool:
    of_subagent = message.get("parent_tool_use_id") is not None
    if not of_subagent:
        trouble = message.get("error")
        fold.state["trouble"] = trouble if isinstance(trouble, str) else ""
    stream_usage(fold, message["message"])
    for block in message["message"]["content"]:
        if block["type"] == "text" and not of_subagent:
            fold.report(Said(string(block["text"])))
        elif block["type"] == "tool_use":
            call, tool = string(block["id"]), string(block["name"])
            if call not in fold.state["tools"]:
                fold.state["tools"][call] = tool
                parent = message.get("parent_tool_use_id")
                started = _started(call, tool, mapping(block["input"]))
                fold.report(replace(started, parent=parent) if isinstance(parent, str) else started)
    return True


def _started(call: str, tool: str, given: dict[str, Any]) -> ToolStarted:
    same = "" if act_of("claude", tool) is Act.EDIT else digest([tool, given])
    return ToolStarted(call, tool, _summary(tool, given), same)


def _read_user(fold: Fold, message: dict[str, Any]) -> bool:
    content = message["message"]["content"]
    if message.get("isReplay") is True:
        heard = digest(content)
        fold.state["assumed"] = []
        if heard in fold.state["unheard"]:
            fold.state["unheard"].remove(heard)
        return True
    if isinstance(content, str):
        return True
    for block in content:
        if block["type"] == "tool_result":
            _end_tool(fold, string(block["tool_use_id"]), block)
    return True


def _end_tool(fold: Fold, call: str, block: dict[str, Any]) -> None:
    detail = _text(block.get("content", ""))
    failed = block.get("is_error") is True
    denied = fold.state["denied"].pop(call, False)
    fold.state["tools"].pop(call, None)
    fold.state["allowed"].pop(call, None)
    code = _EXIT_CODE.match(detail) if failed and not denied else None
    outcome = ToolOutcome.DENIED if failed and denied else ToolOutcome.FAILED if failed else ToolOutcome.OK
    fold.report(ToolEnded(call, outcome, int(code[1]) if code else None, ends(detail, RAW_LIMIT), size_of(detail)))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _read_control_response(fold: Fold, message: dict[str, Any]) -> bool:
    response = mapping(message["response"])
    if response.get("request_id") != _INITIALIZE:
        return True  # the echo of our answer, or of an interrupt
    if response["subtype"] == "success":
        fold.state["confirmed"] = True
        _send_waiting(fold)
        return True
    # Without its hook the agent would edit without asking: it gets no prompt.
    fold.state["running"] = False
    fold.eof = True
    error = cut(str(response.get("error", "")), RAW_LIMIT)
    fold.report(TurnEnded("", TurnOutcome.FAILED, f"the agent refused the permission hook: {error}"))
    return True


def _read_result(fold: Fold, message: dict[str, Any]) -> bool:
    state = fold.state
    report_usage(fold, message)
    claim = message.get("result")
    claim = cut(claim, WORDS_LIMIT) if isinstance(claim, str) else ""
    interrupted, state["interrupted"] = state["interrupted"], False
    trouble, state["trouble"] = state.get("trouble", ""), ""
    state["begun"], state["notified"] = False, False
    assumed = state.get("assumed", [])
    state["assumed"] = []
    blocked, state["blocked"] = state.get("blocked", ""), ""  # an older state has none
    outcome, error = TurnOutcome.COMPLETED, ""
    if message.get("terminal_reason") == "hook_stopped" or blocked:
        outcome, error = TurnOutcome.FAILED, blocked or _HOOK_STOPPED
    elif message.get("is_error", False) is not False or str(message.get("subtype")).startswith("error") or trouble:
        outcome, error = of_claude(message, claim, trouble)
    if outcome is TurnOutcome.LIMITED and state.get("resets") and "reset" not in error:
        error = f"{error} · resets at {state['resets']}"
    if interrupted and outcome is not TurnOutcome.COMPLETED:
        outcome, error = TurnOutcome.FAILED, "interrupted"
    if not state["running"]:
        return True
    if message.get("num_turns") == 0 and outcome is TurnOutcome.COMPLETED:
        state["unheard"] = [*assumed, *state["unheard"]]
        return True  # of something that was pending when the conversation was resumed; our words come next
    if state["unheard"] and outcome is not TurnOutcome.CONVERSATION_LOST:
        return True  # messages that came too late to steer start another turn themselves
    if hold_back(fold, claim, outcome, error):
        return True
    state["running"] = False
    fold.report(TurnEnded(claim, outcome, error))
    return True


def _read_limit(fold: Fold, message: dict[str, Any]) -> bool:
    """Keeps the reset hour of a limit that is reached: a result may not say it. Reports what is left."""
    info = mapping(message["rate_limit_info"])
    at = info.get("resetsAt")
    share, kind = info.get("utilization"), info.get("rateLimitType")
    rejected = info.get("status") == "rejected"
    used = 100 if rejected else share * 100 if isinstance(share, int | float) else None
    if isinstance(kind, str) and used is not None:
        fold.report(window(_WINDOWS.get(kind, kind[:40]), used, at))
    fold.state["resets"] = at if rejected and type(at) is int and _SOONEST <= at <= _LATEST else 0
    return True


def _summary(tool: str, given: dict[str, Any]) -> str:
    for name in ("command", "file_path", "notebook_path", "pattern", "url", "query", "description"):
        if isinstance(given.get(name), str):
            return one_line(given[name])
    return one_line(canonical(given)) if given else tool


_READERS = {
    "system": _read_system,
    "assistant": _read_assistant,
    "user": _read_user,
    "control_request": read_question,
    "control_cancel_request": read_cancel,
    "control_response": _read_control_response,
    "result": _read_result,
    "rate_limit_event": _read_limit,
}
