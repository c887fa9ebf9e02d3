"""Claude Code's questions: hook callbacks and permission requests, and our answers."""

from __future__ import annotations

from typing import Any

from fleet.agent_events import Act, Allow, Answered, Asked, Decision, Deny
from fleet.agents import elicitations, open_asks
from fleet.agents.acts import TOOLS, act_of
from fleet.agents.lines import UNREADABLE, Fold, canonical, digest, mapping, string
from fleet.questions import Option, Question, answers

EDITS = ("Edit", "MultiEdit", "NotebookEdit", "Write")
"""Tools that change a file themselves."""

PLAN = "ExitPlanMode"
"""The agent shows its plan, and starts to work once it is approved."""

_QUESTION = "AskUserQuestion"


def read_question(fold: Fold, message: dict[str, Any]) -> bool:
    """Stores and reports the question. A call that was already allowed is answered immediately; a kind that we
    cannot answer is refused, so that the agent does not wait."""
    name, request = string(message["request_id"]), mapping(message["request"])
    match request["subtype"]:
        case "hook_callback":
            given = mapping(request["input"])
            _ask(fold, name, string(given["tool_name"]), mapping(given["tool_input"]), given, hook=True)
        case "can_use_tool":
            _ask(fold, name, string(request["tool_name"]), mapping(request["input"]), request, hook=False)
        case "elicitation":
            _pass_on(fold, name, request)
        case _:
            body = {"subtype": "error", "request_id": name, "error": "not supported by this client"}
            fold.send({"type": "control_response", "response": body})
            return False
    return True


def _ask(fold: Fold, name: str, tool: str, given: dict[str, Any], request: dict[str, Any], *, hook: bool) -> None:
    call, wanted = string(request["tool_use_id"]), _questions(given) if tool == _QUESTION else ()
    asked = {"id": name, "hook": hook, "call": call, "input": given, "digest": digest([tool, given])}
    if fold.state["allowed"].get(call) == asked["digest"]:
        answer(fold, name, asked, Allow())
        return
    ask = open_asks.keep(fold, name, asked)
    if not ask:
        return
    command = given.get("command") if tool == "Bash" else ""
    paths = (given.get("file_path"), given.get("notebook_path")) if tool in EDITS else ()
    fold.report(
        Asked(
            ask=ask,
            tool=tool,
            request=_shown(tool, given),
            command=command if isinstance(command, str) else "",
            paths=tuple(path for path in paths if isinstance(path, str)),
            directory=where if isinstance(where := request.get("cwd"), str) else "",
            questions=wanted,
            act=act_of("claude", tool),
            person=_person(tool, hook=hook),
        )
    )


def _pass_on(fold: Fold, name: str, request: dict[str, Any]) -> None:
    """A server that the agent uses asks the person something."""
    form, shown = request.get("requested_schema"), canonical(request)
    ask = open_asks.keep(fold, name, {"id": name, "call": name, "form": form, "digest": digest(shown)})
    if ask:
        fields = elicitations.questions(str(request.get("message", "")), form)
        fold.report(Asked(ask, "mcp_elicitation", shown, questions=fields, act=Act.MCP, person=elicitations.REASON))


def _shown(tool: str, given: dict[str, Any]) -> str:
    """What a person approves: all of the input; of a plan its words, and then the rest."""
    plan = given.get("plan")
    if tool != PLAN or not isinstance(plan, str):
        return canonical(given)
    rest = {name: value for name, value in given.items() if name != "plan"}
    return f"{plan}\n\n{canonical(rest)}" if rest else plan


def _person(tool: str, *, hook: bool) -> str:
    """Why only a person may say yes: to a plan, and to what no rule of ours knows but the agent asks about."""
    if tool == PLAN:
        return "the agent shows its plan, and works by it after your yes"
    unknown = tool != _QUESTION and tool not in TOOLS["claude"] and act_of("claude", tool) is Act.OTHER
    return f"no rule covers {tool}" if unknown and not hook else ""


def _questions(given: dict[str, Any]) -> tuple[Question, ...]:
    found = given.get("questions")
    return tuple(
        Question(
            string(question["question"]),
            tuple(
                Option(string(each["label"]), str(each.get("description", "")))
                for each in question.get("options") or ()
            ),
            question.get("multiSelect") is True,
        )
        for question in (found if isinstance(found, list) else ())
    )


def read_cancel(fold: Fold, message: dict[str, Any]) -> bool:
    """The agent withdraws a question."""
    open_asks.take_back(fold, string(message["request_id"]))
    return True


def refuse(fold: Fold, message: dict[str, Any]) -> None:
    """Denies a question that cannot be read, so that the agent does not wait. An error would let a hook's call
    happen."""
    name, request = message.get("request_id"), message.get("request")
    if message.get("type") == "control_request" and isinstance(name, str) and isinstance(request, dict):
        answer(fold, name, {"hook": request.get("subtype") == "hook_callback"}, Deny(UNREADABLE))


def answer(fold: Fold, ask: str, asked: dict[str, Any], decision: Decision) -> None:
    """Sends the answer to a stored question."""
    response = _verdict(asked, decision)
    body = {"subtype": "success", "request_id": asked.get("id", ask), "response": response}
    fold.send({"type": "control_response", "response": body})


def _verdict(asked: dict[str, Any], decision: Decision) -> dict[str, Any]:
    if "form" in asked:
        form = elicitations.content(asked["form"], decision)
        return {"action": "decline"} if form is None else {"action": "accept", "content": form}
    match decision:
        case Deny(reason) if asked["hook"]:
            said = {"permissionDecision": "deny", "permissionDecisionReason": reason}
            return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **said}}
        case Deny(reason):
            return {"behavior": "deny", "message": reason}
        case Allow() if asked["hook"]:
            # Another hook may change the input after this yes: the agent asks again, with what it would really do.
            return {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "ask"}}
        case Allow():
            return {"behavior": "allow", "updatedInput": asked["input"]}
        case Answered(kept):
            texts = [question.text for question in _questions(asked["input"])]
            given = dict(zip(texts, answers(len(texts), kept), strict=True))
            return {"behavior": "allow", "updatedInput": {**asked["input"], "answers": given}}
