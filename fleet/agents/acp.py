"""Any agent that speaks the Agent Client Protocol, version 1: JSON-RPC on standard input and output.

The protocol has no words for a running turn. Where an agent says that it queues prompts, ours go to it at once;
else they are its next prompt, before our turn ends. We give it neither files nor terminals: it uses its own.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

from fleet.agent_events import Decision, Deny, Ready, Said, TurnEnded, TurnOutcome, Used
from fleet.agents.acp_calls import answer, cancel_asks, read_call, read_question
from fleet.agents.lines import (
    RAW_LIMIT,
    Fold,
    MessageDriver,
    as_words,
    count,
    cut,
    mapping,
    string,
    with_attachments,
)
from fleet.agents.refusals import of_acp
from fleet.exits import Exit
from fleet.ports import Brief, DriverState, Launch, Step

_VERSION: Final = 1
_SAID_AT_ONCE: Final = 4_000  # characters of text that is still being written
_CLAIM: Final = 20_000
_QUIET: Final = frozenset(
    {
        *("agent_thought_chunk", "user_message_chunk", "plan", "available_commands_update"),
        *("current_mode_update", "config_option_update", "session_info_update"),
    }
)
_HEARD: Final = ("agent_message_chunk", "tool_call", "tool_call_update")
_OWN_SETTINGS: Final = {"claudeCode": {"options": {"settingSources": ["user"]}}}
"""claude-agent-acp would read the repository's settings: hooks, servers, another endpoint. Others ignore this."""
_ASKS_NOT: Final = ("acceptEdits", "bypassPermissions", "dontAsk")
"""Claude Code's modes, which it takes from the repository's settings, too."""
_CANCELLED: Final = "cancelled"
_NOTHING: Final = "the agent did nothing after it was interrupted"


class AcpDriver(MessageDriver):
    """One process for a session's turns; a later one continues where the agent can load a session."""

    name = "acp"
    ends_itself = False

    def launch(self, brief: Brief) -> Launch:
        """The program as it is: what it does is in the first requests."""
        return Launch(brief.program, {}, one_turn=False)

    def open(self, brief: Brief) -> Step:
        """Initializes; the session and the prompt follow."""
        pictures = [
            {"type": "image", "mimeType": image.media_type, "data": b64encode(image.data).decode("ascii")}
            for image in brief.images
        ]
        fold = Fold(
            {
                "session": "",
                "resume": brief.resume,
                "cwd": brief.workspace,
                "model": brief.model,
                "read_only": brief.read_only,
                "ready": False,
                "queues": False,
                "running": True,
                "stopping": False,
                "cancelled": False,
                "heard": False,
                "waiting": [as_words(with_attachments(brief.prompt, brief.attachments))],
                "pictures": pictures,
                "requests": {},
                "number": 0,
                "questions": 0,
                "asks": {},
                "tools": {},
                "over": [],
                "denied": {},
                "text": "",
                "claim": "",
                "cost": 0,
            }
        )
        params = {
            "protocolVersion": _VERSION,
            "clientCapabilities": {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False},
            "clientInfo": {"name": "airboss", "title": "Airboss", "version": "1"},
        }
        _request(fold, "initialize", params)
        return fold.step()

    def _read(self, fold: Fold, message: dict[str, Any]) -> bool:
        if "method" in message:
            return _read_call_of_agent(fold, string(message["method"]), message)
        _read_response(fold, message)
        return True

    def say(self, state: DriverState, text: str) -> Step:
        """The next prompt; during a turn the agent gets it as soon as it can take one."""
        fold = Fold(state)
        fold.state["running"] = True
        fold.state["waiting"].append(as_words(text))
        _send_waiting(fold)
        return fold.step()

    def decide(self, state: DriverState, ask: str, decision: Decision) -> Step:
        """Answers a permission request. The protocol has no room for a reason: it follows as a prompt."""
        if ask not in state["asks"]:
            return Step(state)
        fold = Fold(state)
        answer(fold, ask, decision)
        if isinstance(decision, Deny) and decision.reason:
            fold.state["waiting"].append(f"That was denied: {decision.reason}")
        _send_waiting(fold)
        return fold.step()

    def interrupt(self, state: DriverState) -> Step:
        """Cancels what the agent does; a turn that was not sent yet ends immediately."""
        fold = Fold(state)
        if _prompting(fold):
            fold.state["stopping"] = True
            cancel_asks(fold)
            fold.send({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": state["session"]}})
        elif state["running"]:
            fold.state.update(waiting=[], pictures=[])
            _end_turn(fold, TurnOutcome.FAILED, "interrupted")
        return fold.step()

    def _end(self, fold: Fold, ended: TurnEnded) -> None:
        _flush(fold)
        _end_turn(fold, ended.outcome, ended.error, ended.exit)


# --- Requests of ours ------------------------------------------------------------------------------------


def _request(fold: Fold, method: str, params: dict[str, Any]) -> None:
    fold.state["number"] += 1
    number = fold.state["number"]
    fold.state["requests"][str(number)] = method
    fold.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def _prompting(fold: Fold) -> bool:
    return "session/prompt" in fold.state["requests"].values()


def _send_waiting(fold: Fold) -> None:
    state = fold.state
    if not state["ready"] or not state["waiting"] or (_prompting(fold) and not state["queues"]):
        return
    texts, state["waiting"] = state["waiting"], []
    blocks = [{"type": "text", "text": text} for text in texts] + state["pictures"]
    state["pictures"] = []
    state["heard"] = False
    _request(fold, "session/prompt", {"sessionId": state["session"], "prompt": blocks})


def _read_response(fold: Fold, message: dict[str, Any]) -> None:
    method = fold.state["requests"].pop(str(message["id"]))
    if "error" in message:
        _read_refusal(fold, method, mapping(message["error"]))
        return
    result = message.get("result")
    match method:
        case "initialize":
            _open_session(fold, mapping(result))
        case "session/new" | "session/load" | "session/resume":
            _begin(fold, result if isinstance(result, dict) else {})
        case "session/set_model":
            _choose_mode(fold, fold.state["model"])
        case "session/set_mode":
            _be_ready(fold, fold.state["chosen"])
        case "session/prompt":
            _read_stop(fold, mapping(result))


def _read_refusal(fold: Fold, method: str, error: dict[str, Any]) -> None:
    outcome, words = of_acp(error)
    if method in ("session/load", "session/resume"):
        lost = f"the conversation {fold.state['resume']} is gone: {words}"
        outcome, words = (TurnOutcome.CONVERSATION_LOST if outcome is TurnOutcome.FAILED else outcome), lost
    if method == "session/prompt" and (fold.state["stopping"] and not _prompting(fold)):
        outcome, words = TurnOutcome.FAILED, "interrupted"
    _flush(fold)
    fold.state["stopping"] = False
    if not _prompting(fold):
        _end_turn(fold, outcome, words)


def _open_session(fold: Fold, result: dict[str, Any]) -> None:
    state, can = fold.state, mapping(result.get("agentCapabilities") or {})
    state["queues"] = _named(can, "_meta", "claudeCode", "promptQueueing") is True
    where = {"cwd": state["cwd"], "mcpServers": [], "_meta": _OWN_SETTINGS}
    if not state["resume"]:
        _request(fold, "session/new", where)
    elif can.get("loadSession") is True:
        state["session"] = state["resume"]
        _request(fold, "session/load", {**where, "sessionId": state["resume"]})
    elif _named(can, "sessionCapabilities", "resume") is not None:
        state["session"] = state["resume"]
        _request(fold, "session/resume", {**where, "sessionId": state["resume"]})
    else:
        words = f"the agent cannot continue the conversation {state['resume']}"
        _end_turn(fold, TurnOutcome.CONVERSATION_LOST, words)


def _named(value: object, *names: str) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _begin(fold: Fold, result: dict[str, Any]) -> None:
    """The session is there, with what was said in it before; then its model is chosen."""
    state = fold.state
    state["session"] = string(result.get("sessionId") or state["session"])
    state.update(tools={}, over=[], text="", claim="", mode=_named(result, "modes", "currentModeId"))
    model = _named(result, "models", "currentModelId")
    if state["model"] and model != state["model"]:
        _request(fold, "session/set_model", {"sessionId": state["session"], "modelId": state["model"]})
    else:
        _choose_mode(fold, model if isinstance(model, str) else "")


def _choose_mode(fold: Fold, model: str) -> None:
    """No settings, of whoever, put the agent into a mode in which it does not ask."""
    if fold.state["mode"] in _ASKS_NOT:
        fold.state["chosen"] = model
        _request(fold, "session/set_mode", {"sessionId": fold.state["session"], "modeId": "default"})
    else:
        _be_ready(fold, model)


def _be_ready(fold: Fold, model: str) -> None:
    fold.state["ready"] = True
    fold.report(Ready(resume=fold.state["session"], model=model))
    _send_waiting(fold)


# --- What the agent sends -------------------------------------------------------------------------------


def _read_call_of_agent(fold: Fold, method: str, message: dict[str, Any]) -> bool:
    if method == "session/update":
        return _read_update(fold, mapping(mapping(message["params"])["update"]))
    if method == "session/request_permission":
        _flush(fold)
        read_question(fold, message)
        _send_waiting(fold)
        return True
    if "id" in message:
        refusal = {"code": -32601, "message": "not supported by this client"}
        fold.send({"jsonrpc": "2.0", "id": message["id"], "error": refusal})
    return False


def _read_update(fold: Fold, update: dict[str, Any]) -> bool:
    state, kind = fold.state, string(update["sessionUpdate"])
    if not state["ready"]:
        return True  # what was said in an earlier process, told again
    state["heard"] |= kind in _HEARD
    match kind:
        case "agent_message_chunk":
            text = _named(update, "content", "text")
            if isinstance(text, str):
                _add_text(fold, text)
        case "tool_call" | "tool_call_update":
            _flush(fold)
            state["claim"] = ""
            read_call(fold, update)
        case "usage_update":
            _read_cost(fold, _named(update, "cost", "amount"))
        case _:
            return kind in _QUIET
    return True


def _add_text(fold: Fold, text: str) -> None:
    """Chunks are reported together: as whole lines, and at the end of a message."""
    state = fold.state
    state["text"] += text
    if len(state["text"]) > _SAID_AT_ONCE:
        whole, newline, rest = state["text"].rpartition("\n")
        if newline or len(rest) > 4 * _SAID_AT_ONCE:
            state["text"] = rest if newline else ""
            _say(fold, whole if newline else rest)


def _flush(fold: Fold) -> None:
    text, fold.state["text"] = fold.state["text"], ""
    if text.strip():
        _say(fold, text)


def _say(fold: Fold, text: str) -> None:
    claim = f"{fold.state['claim']}\n{text}" if fold.state["claim"] else text
    fold.state["claim"] = cut(claim, _CLAIM)
    fold.report(Said(text))


def _read_cost(fold: Fold, amount: object) -> None:
    """The agent tells the running sum of its process, in dollars."""
    if isinstance(amount, int | float) and 0 <= amount < 1_000_000:
        cost = int(amount * 1_000_000)
        if cost > fold.state["cost"]:
            fold.report(Used(0, 0, cost - fold.state["cost"]))
        fold.state["cost"] = max(cost, fold.state["cost"])


def _read_stop(fold: Fold, result: dict[str, Any]) -> None:
    """A prompt has ended; with the last one, so has our turn, unless more words wait."""
    usage = result.get("usage")
    if isinstance(usage, dict):
        spent = sum(count(usage.get(name)) for name in ("inputTokens", "cachedReadTokens", "cachedWriteTokens"))
        if spent or count(usage.get("outputTokens")):
            fold.report(Used(spent, count(usage.get("outputTokens")), 0))
    _flush(fold)
    state = fold.state
    if _prompting(fold):
        return
    stopped = state["stopping"]
    state["stopping"] = False
    reason = string(result["stopReason"])
    if reason == "end_turn" and state["waiting"] and not stopped:
        _send_waiting(fold)
        return
    after, state["cancelled"] = state["cancelled"], reason == _CANCELLED
    match reason:
        case "end_turn" if after and not state["heard"]:
            # Some agents answer the first prompt after a cancel with the end of what was cancelled.
            _end_turn(fold, TurnOutcome.FAILED, _NOTHING)
        case "end_turn":
            _end_turn(fold, TurnOutcome.COMPLETED)
        case "cancelled":
            _end_turn(fold, TurnOutcome.FAILED, "interrupted")
        case _:
            _end_turn(fold, TurnOutcome.FAILED, f"the agent stopped: {cut(reason, RAW_LIMIT)}")


def _end_turn(fold: Fold, outcome: TurnOutcome, error: str = "", exit: Exit | None = None) -> None:
    claim = fold.state["claim"] if outcome is TurnOutcome.COMPLETED else ""
    fold.state.update(running=False, claim="", denied={}, asks={})
    fold.report(TurnEnded(claim, outcome, error, exit))
