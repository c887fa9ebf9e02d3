"""Codex over ``codex app-server``: JSON-RPC on standard input and output, one object per line.

It asks about every command and file change (approval policy ``untrusted``). Read-only tasks do not ask but are
sandboxed: there, answering yes would lift the sandbox, so nothing is asked (docs/adr/0003-codex-app-server.md).
"""

from __future__ import annotations

import re
from typing import Any

from fleet.agent_events import Decision, Deny, Ready, Said, TurnEnded, TurnOutcome
from fleet.agents import open_asks
from fleet.agents.codex_asks import answer, read_question
from fleet.agents.codex_background import forget_commands, hold_back, let_go, note_item, note_turn
from fleet.agents.codex_items import end_item, start_item
from fleet.agents.codex_usage import report_subagent_usage, report_usage
from fleet.agents.lines import (
    HELD_BACK,
    RAW_LIMIT,
    WORDS_LIMIT,
    Fold,
    MessageDriver,
    count,
    cut,
    mapping,
    string,
    window,
    with_attachments,
)
from fleet.agents.refusals import by_words, of_codex
from fleet.exits import Exit
from fleet.ports import Brief, DriverState, Launch, Step

_SUPPRESSED = (
    "item/agentMessage/delta",
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "item/fileChange/patchUpdated",
    "item/plan/delta",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/summaryPartAdded",
    "item/reasoning/textDelta",
    "item/mcpToolCall/progress",
    "turn/diff/updated",
    "turn/plan/updated",
    "remoteControl/status/changed",
    "thread/status/changed",
    "thread/started",
)
"""Notifications that add nothing to later ones; the agent is asked to leave them out."""

_NAMES_HOUR = re.compile(r"resets?\b|try again", re.IGNORECASE)
_ASKING = {"approvalPolicy": "untrusted", "sandbox": "danger-full-access", "approvalsReviewer": "user"}
_READING = {"approvalPolicy": "never", "sandbox": "read-only"}


class CodexDriver(MessageDriver):
    """Codex: one process for a session's turns, ``thread/resume`` for a later process."""

    name = "codex"
    ends_itself = True

    def launch(self, brief: Brief) -> Launch:
        """The app server on standard input and output; model and limits are in the first requests."""
        return Launch((*brief.program, "app-server"), {}, one_turn=False)

    def open(self, brief: Brief) -> Step:
        """Initializes and opens the thread; the prompt follows once the thread has an id."""
        fold = Fold(
            {
                "thread": "",
                "turn": "",
                "starting": False,
                "stopping": False,
                "running": True,
                "waiting": [with_attachments(brief.prompt, brief.attachments)],
                "pictures": [image.path for image in brief.images],
                "requests": {},
                "number": 0,
                "asks": {},
                "changes": {},
                "tools": {},
                "input": 0,
                "output": 0,
                "counted": not brief.resume,
                "claim": "",
                "over": [],
                "unheard": {},
            }
        )
        client = {"name": "airboss", "title": "Airboss", "version": "1"}
        capabilities = {
            "experimentalApi": False,
            "requestAttestation": False,
            "optOutNotificationMethods": list(_SUPPRESSED),
        }
        _request(fold, "initialize", {"clientInfo": client, "capabilities": capabilities})
        fold.send({"method": "initialized"})
        params: dict[str, Any] = {"cwd": brief.workspace, **(_READING if brief.read_only else _ASKING)}
        # What the repository keeps in .codex could allow commands: it is not read, whatever the login trusts.
        params["config"] = {"projects": {brief.workspace: {"trust_level": "untrusted"}}}
        if brief.model:
            params["model"] = brief.model
        if brief.resume:
            _request(fold, "thread/resume", {"threadId": brief.resume, "excludeTurns": True, **params})
        else:
            _request(fold, "thread/start", params)
        return fold.step()

    def _read(self, fold: Fold, message: dict[str, Any]) -> bool:
        if "method" not in message:
            return _read_response(fold, message)
        read = read_question if "id" in message else _read_notification
        return read(fold, string(message["method"]), mapping(message["params"]), message)

    def say(self, state: DriverState, text: str) -> Step:
        """Steers the running turn, or starts the next one."""
        fold = Fold(state)
        fold.state["running"] = True
        fold.state[HELD_BACK] = {}
        fold.state["waiting"].append(text)
        _send_waiting(fold)
        return fold.step()

    def decide(self, state: DriverState, ask: str, decision: Decision) -> Step:
        """Answers an approval request. The answer has no field for a reason: it is sent as steering."""
        if ask not in state["asks"]:
            return Step(state)
        fold = Fold(state)
        asked = fold.state["asks"].pop(ask)
        fold.send(answer(asked, decision))
        if isinstance(decision, Deny) and decision.reason and fold.state["turn"]:
            _steer(fold, f"That was denied: {decision.reason}", reason=True)
        return fold.step()

    def interrupt(self, state: DriverState) -> Step:
        """Asks for the end of the turn, once it has an id; a turn that was not sent yet ends immediately."""
        fold = Fold(state)
        if state["turn"]:
            _interrupt(fold)
        elif state["starting"]:
            fold.state["stopping"] = True
        elif state["running"]:
            fold.state["waiting"] = []
            fold.state.pop("pictures", None)
            _end_turn(fold, "", TurnOutcome.FAILED, "interrupted")
        return fold.step()

    def _end(self, fold: Fold, ended: TurnEnded) -> None:
        _end_turn(fold, ended.claim, ended.outcome, ended.error, ended.exit)


def _request(fold: Fold, method: str, params: dict[str, Any], **kept: Any) -> None:
    fold.state["number"] += 1
    number = fold.state["number"]
    fold.state["requests"][str(number)] = {"method": method, **kept}
    fold.send({"id": number, "method": method, "params": params})


def _words(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, "text_elements": []}]


def _steer(fold: Fold, text: str, *, reason: bool = False) -> None:
    client = f"airboss-{fold.state['number'] + 1}"
    turn = {"threadId": fold.state["thread"], "expectedTurnId": fold.state["turn"]}
    if not reason:
        fold.state["unheard"][client] = text
    _request(fold, "turn/steer", {**turn, "clientUserMessageId": client, "input": _words(text)}, reason=reason)


def _send_waiting(fold: Fold) -> None:
    state = fold.state
    if not state["thread"] or state["starting"] or not state["waiting"]:
        return
    texts, state["waiting"] = state["waiting"], []
    if state["turn"]:
        for text in texts:
            _steer(fold, text)
        return
    state["starting"] = True
    together = [part for text in texts for part in _words(text)]
    together += [{"type": "localImage", "path": path} for path in state.pop("pictures", ())]
    _request(fold, "turn/start", {"threadId": state["thread"], "input": together})


def _end_turn(fold: Fold, claim: str, outcome: TurnOutcome, error: str = "", exit: Exit | None = None) -> None:
    fold.state.update(running=False, turn="", starting=False, stopping=False, over=[], claim="")
    fold.state[HELD_BACK] = {}
    fold.report(TurnEnded(claim, outcome, error, exit))


def _begin_turn(fold: Fold, turn: str) -> None:
    fold.state.update(turn=turn, starting=False)
    fold.state[HELD_BACK] = {}
    _send_waiting(fold)
    if fold.state["stopping"]:
        _interrupt(fold)


def _interrupt(fold: Fold) -> None:
    fold.state["stopping"] = False
    _request(fold, "turn/interrupt", {"threadId": fold.state["thread"], "turnId": fold.state["turn"]})


def _steers_open(fold: Fold) -> bool:
    return any(each["method"] == "turn/steer" and not each["reason"] for each in fold.state["requests"].values())


# --- Answers to our requests ---------------------------------------------------------------------------


def _read_response(fold: Fold, message: dict[str, Any]) -> bool:
    asked = fold.state["requests"].pop(str(message["id"]))
    if "error" in message:
        error = cut(string(mapping(message["error"])["message"]), RAW_LIMIT)
        return _read_refusal(fold, asked, error)
    result = mapping(message["result"])
    match asked["method"]:
        case "thread/start" | "thread/resume":
            fold.state["thread"] = string(result["thread"]["id"])
            model = result.get("model")
            fold.report(Ready(resume=fold.state["thread"], model=model if isinstance(model, str) else ""))
            _send_waiting(fold)
        case "turn/start":
            if fold.state["starting"]:
                _begin_turn(fold, string(result["turn"]["id"]))
        case "turn/steer":
            _close_turn(fold)
    return True


def _read_refusal(fold: Fold, asked: dict[str, Any], error: str) -> bool:
    match asked["method"]:
        case "initialize" | "thread/start" | "thread/resume" | "turn/start":
            outcome = by_words(error) or TurnOutcome.FAILED
            _end_turn(fold, "", outcome, f"{asked['method']} was refused: {error}")
            return True
        case "turn/steer":  # the turn ended before the message arrived
            _close_turn(fold)
            return True
    return False


def _close_turn(fold: Fold) -> None:
    """Ends the turn once every steer is answered. Messages it did not read start another turn; after an interrupt
    they are kept for the next one."""
    state = fold.state
    if not state["over"] or _steers_open(fold):
        return
    claim, outcome, error = state["over"]
    completed = outcome == TurnOutcome.COMPLETED
    state["waiting"] = [*state["unheard"].values(), *state["waiting"]]
    state.update(over=[], unheard={})
    if completed and state["waiting"]:
        _send_waiting(fold)
    elif not (completed and hold_back(fold, claim)):
        _end_turn(fold, claim, TurnOutcome(outcome), error)


def _end_held_turn(fold: Fold) -> None:
    if (claim := let_go(fold)) is not None:
        _end_turn(fold, claim, TurnOutcome.COMPLETED)


# --- What the agent reports ------------------------------------------------------------------------------


def _read_notification(fold: Fold, method: str, params: dict[str, Any], message: dict[str, Any]) -> bool:
    own = params.get("threadId") == fold.state["thread"]
    match method:
        case "item/started":
            item = mapping(params["item"])
            if item["type"] == "userMessage":
                fold.state["unheard"].pop(item.get("clientId"), None)
            start_item(fold, item, "" if own else string(params["threadId"]))
            note_item(fold, params, item, over=False)
        case "item/completed":
            item = mapping(params["item"])
            end_item(fold, item, "" if own else string(params["threadId"]))
            note_item(fold, params, item, over=True)
            if item["type"] == "agentMessage" and own:
                text = string(item["text"])
                fold.state["claim"] = cut(text, WORDS_LIMIT)
                fold.report(Said(text))
            _end_held_turn(fold)
        case "turn/started" if own:
            _begin_turn(fold, string(params["turn"]["id"]))
        case "serverRequest/resolved":
            open_asks.take_back(fold, params["requestId"])
        case "turn/completed" if own:
            _read_turn_end(fold, mapping(params["turn"]))
        case "thread/tokenUsage/updated":
            usage = mapping(params["tokenUsage"])
            if own:
                report_usage(fold, usage)
            else:
                report_subagent_usage(fold, string(params["threadId"]), usage)
        case "model/rerouted" if own:
            fold.report(Ready(resume=fold.state["thread"], model=string(params["toModel"])))
        case "mcpServer/startupStatus/updated":
            return params.get("status") in ("starting", "ready")
        case "account/rateLimits/updated":
            _read_limits(fold, mapping(params["rateLimits"]))
        case "error":
            pass  # it is either retried, or the turn's end reports it
        case "turn/started" | "turn/completed":
            note_turn(fold, params.get("threadId"), over=method == "turn/completed")
            if mapping(params["turn"]).get("status", "inProgress") not in ("inProgress", "completed"):
                forget_commands(fold, params.get("threadId"))
            _end_held_turn(fold)
        case _:
            return method in _SUPPRESSED
    return True


def _read_turn_end(fold: Fold, turn: dict[str, Any]) -> None:
    state = fold.state
    status = string(turn["status"])
    claim, outcome, words = state["claim"], TurnOutcome.COMPLETED, ""
    if status != "completed":
        outcome, words = of_codex(turn.get("error"), status)
        forget_commands(fold, state["thread"])
    if outcome is TurnOutcome.LIMITED and state.get("resets") and not _NAMES_HOUR.search(words):
        words = f"{words} · resets at {state['resets']}"
    state.update(turn="", starting=False, claim="", changes={})
    if not state["running"]:
        return
    state["over"] = [claim, str(outcome), words]
    _close_turn(fold)


def _read_limits(fold: Fold, limits: dict[str, Any]) -> None:
    """Reports what is left of the account, and keeps the reset hour of a limit that is reached: the turn's end may
    not say it. An update may leave windows out."""
    for name in ("primary", "secondary"):
        if not isinstance(found := limits.get(name), dict):
            continue
        seen = window(_length(count(found.get("windowDurationMins"))), found["usedPercent"], found.get("resetsAt"))
        fold.report(seen)
        if seen.used_percent >= 100 and seen.resets_us:
            fold.state["resets"] = max(fold.state.get("resets", 0), seen.resets_us // 1_000_000)


def _length(minutes: int) -> str:
    if minutes and minutes % 1_440 == 0:
        return f"{minutes // 1_440} d"
    return f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min" if minutes else "limit"
