"""Codex's approval requests, and our answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fleet.agent_events import Act, Allow, Answered, Asked, Decision
from fleet.agents import elicitations, open_asks
from fleet.agents.acts import act_of
from fleet.agents.codex_items import paths_of
from fleet.agents.lines import Fold, canonical, digest, string
from fleet.questions import Option, Question, answers


def read_question(fold: Fold, method: str, params: dict[str, Any], message: dict[str, Any]) -> bool:
    """Stores and reports the question; one that we cannot answer is refused, so that the agent does not wait."""
    number = message["id"]
    known = method in _VERDICTS or method == _ELICITATION or (method == _QUESTIONS and _askable(params))
    if not known or type(number) not in (int, str):
        refusal = {"code": -32601, "message": "not supported by this client"}
        fold.send({"id": number, "error": refusal})
        return False
    turn = params.get("turnId")
    # The agent numbers its questions from 0 in each process; the turn makes the name unique.
    ask = f"{turn if isinstance(turn, str) else 'thread'}/{number}"
    kept: dict[str, Any] = {"permissions": params.get("permissions")} if method == _PERMISSIONS else {}
    if method == _QUESTIONS:
        kept = {"questions": [string(question["id"]) for question in params["questions"]]}
    if method == _ELICITATION:
        kept = {"form": params.get("requestedSchema")}
    asked = _asked(fold, ask, method, params)
    same = digest([method, asked.request])
    ask = open_asks.keep(fold, ask, {"id": number, "method": method, "params": kept, "digest": same})
    if ask:
        fold.report(replace(asked, ask=ask))
    return True


def _asked(fold: Fold, ask: str, method: str, params: dict[str, Any]) -> Asked:
    if method == _FILES:
        changes = fold.state["changes"].get(string(params["itemId"]), [])
        request = canonical({"changes": changes, "grantRoot": params.get("grantRoot")})
        return Asked(ask, "apply_patch", request, paths=paths_of(changes), act=Act.EDIT)
    varying = ("threadId", "turnId", "itemId", "startedAtMs", "approvalId", "availableDecisions")
    request = canonical({name: value for name, value in params.items() if name not in varying})
    if method == _COMMAND:
        command, where = params.get("command"), params.get("cwd")
        return Asked(
            ask,
            "exec_command",
            request,
            command=command if isinstance(command, str) else "",
            directory=where if isinstance(where, str) else "",
            act=Act.SHELL if params.get("networkApprovalContext") is None else Act.NETWORK,
        )
    if method == _QUESTIONS:
        return Asked(ask, "request_user_input", request, questions=_questions(params))
    tool = "request_permissions" if method == _PERMISSIONS else "mcp_elicitation"
    asked = Asked(ask, tool, request, act=act_of("codex", tool))
    if method != _ELICITATION:
        return asked
    fields = elicitations.questions(str(params.get("message", "")), params.get("requestedSchema"))
    of_codex = isinstance(meta := params.get("_meta"), dict) and meta.get("codex_approval_kind") == "mcp_tool_call"
    own = of_codex and not fields  # Codex itself asks about a call that it is to make, and rules cover those
    return asked if own else replace(asked, questions=fields, person=elicitations.REASON)


def _questions(params: dict[str, Any]) -> tuple[Question, ...]:
    return tuple(
        Question(
            string(question["question"]),
            tuple(
                Option(string(each["label"]), str(each.get("description", "")))
                for each in question.get("options") or ()
            ),
        )
        for question in params["questions"]
    )


def _askable(params: dict[str, Any]) -> bool:
    """Whether a person can be asked: secrets must not appear in a chat or a ledger."""
    found = params.get("questions")
    return isinstance(found, list) and all(
        isinstance(question, dict) and isinstance(question.get("id"), str) and question.get("isSecret") is not True
        for question in found
    )


def _approval(params: dict[str, Any], allowed: bool) -> dict[str, Any]:
    return {"decision": "accept" if allowed else "decline"}


def _permissions(params: dict[str, Any], allowed: bool) -> dict[str, Any]:
    return {"permissions": params["permissions"] if allowed else {}, "scope": "turn"}


_COMMAND = "item/commandExecution/requestApproval"
_FILES = "item/fileChange/requestApproval"
_PERMISSIONS = "item/permissions/requestApproval"
_QUESTIONS = "item/tool/requestUserInput"
_ELICITATION = "mcpServer/elicitation/request"

_VERDICTS = {
    _COMMAND: _approval,
    _FILES: _approval,
    _PERMISSIONS: _permissions,
}


def answer(asked: dict[str, Any], decision: Decision) -> dict[str, Any]:
    """The JSON-RPC response to a stored question."""
    if asked["method"] == _QUESTIONS:
        names = asked["params"]["questions"]
        said = answers(len(names), decision.kept) if isinstance(decision, Answered) else ()
        given = {name: {"answers": [text]} for name, text in zip(names, said, strict=False)}
        return {"id": asked["id"], "result": {"answers": given}}
    if asked["method"] == _ELICITATION:
        form = elicitations.content(asked["params"].get("form"), decision)
        action = "decline" if form is None else "accept"
        return {"id": asked["id"], "result": {"action": action, "content": form, "_meta": None}}
    allowed = isinstance(decision, Allow)
    return {"id": asked["id"], "result": _VERDICTS[asked["method"]](asked["params"], allowed)}
