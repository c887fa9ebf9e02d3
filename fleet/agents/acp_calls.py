"""Tool calls and permission requests of the Agent Client Protocol, and our answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fleet.agent_events import Act, Allow, Answered, Asked, Decision, ToolEnded, ToolOutcome, ToolStarted
from fleet.agents import open_asks
from fleet.agents.acts import TOOLS
from fleet.agents.lines import (
    RAW_LIMIT,
    Fold,
    canonical,
    digest,
    ends,
    exit_status,
    mapping,
    one_line,
    size_of,
    string,
)
from fleet.questions import Option, Question

#: What each kind of tool is. The protocol names kinds, not tools.
ACTS: Final[Mapping[str, Act]] = {**TOOLS["acp"], "edit": Act.EDIT, "read": Act.READ, "other": Act.OTHER}
_YES: Final = "allow_once"
"""A yes for always would cover what nobody was asked about."""
_NO: Final = ("reject_once", "reject_always")
_PERSON: Final[Mapping[str, str]] = {
    "switch_mode": "the agent shows its plan, and works by it after your yes",
    "other": "no rule covers what the agent asks about",
}
"""Kinds of calls about which only a person may say yes, and why."""
_EXIT_CODE: Final = re.compile(r"\W*Exit code (\d{1,3})\b")
_PATHS: Final = ("path", "file_path", "filePath", "abs_path", "notebook_path")


def read_call(fold: Fold, update: dict[str, Any]) -> None:
    """A call begins, or more is known of it. It is reported once its arguments are known, or it has ended."""
    call = string(update["toolCallId"])
    if call in fold.state["over"]:
        return
    seen = _merged(fold, call, update)
    status = seen.get("status")
    if seen.get("rawInput") or status in ("completed", "failed"):
        _start(fold, call, seen)
    if status in ("completed", "failed"):
        fold.state["tools"].pop(call)
        fold.state["over"] = [*fold.state["over"], call][-200:]
        denied = call in fold.state["denied"]
        failed = ToolOutcome.DENIED if denied else ToolOutcome.FAILED
        detail = _output(seen)
        outcome = ToolOutcome.OK if status == "completed" and not denied else failed
        code = None if denied else _exit_code(seen, detail if outcome is ToolOutcome.FAILED else "")
        fold.report(ToolEnded(call, outcome, code, ends(detail, RAW_LIMIT), size_of(detail)))


def read_question(fold: Fold, message: dict[str, Any]) -> None:
    """The agent asks before it acts. In read-only work everything but reading is refused at once."""
    params, number = mapping(message["params"]), message["id"]
    call = mapping(params["toolCall"])
    seen = _merged(fold, string(call["toolCallId"]), call)
    options = [
        [string(each["kind"]), string(each["optionId"]), str(each.get("name"))] for each in params["options"]
    ]
    yes = [name for kind, _, name in options if kind == _YES]
    _start(fold, string(call["toolCallId"]), seen)
    fold.state["questions"] += 1
    request = _request(seen)
    asked = {"id": number, "call": call["toolCallId"], "options": options, "digest": digest([call, request])}
    ask = open_asks.keep(fold, f"{fold.state['session']}/{fold.state['questions']}", asked)
    if not ask:
        return
    act = ACTS.get(_kind(seen), Act.OTHER)
    if not yes:
        fold.state["waiting"].append("That was denied: no answer that you offer is a yes for this one call.")
    if not yes or (fold.state["read_only"] and act is not Act.READ):
        answer(fold, ask, None)
        return
    command = _command(seen) if act is Act.SHELL else ""
    paths = _paths(seen) if act is Act.EDIT else ()
    # Several ways to say yes once: the agent wants an answer, and not ours.
    labels = tuple(Option(name) for _, _, name in options) if len(yes) > 1 else ()
    fold.report(
        Asked(
            ask,
            _kind(seen),
            request,
            command=command,
            paths=paths,
            directory=_directory(seen),
            questions=(Question(str(seen.get("title", "")), labels),) if labels else (),
            act=act,
            person=_PERSON.get(_kind(seen), ""),
        )
    )


def _request(seen: dict[str, Any]) -> str:
    """What a person approves: all that the agent tells of the call; of a plan its words, and then the rest."""
    raw = _raw(seen)
    if _kind(seen) == "switch_mode" and isinstance(plan := raw.get("plan"), str):
        rest = {name: value for name, value in raw.items() if name != "plan"}
        return f"{plan}\n\n{canonical(rest)}" if rest else plan
    varying = ("toolCallId", "status", "sessionUpdate", "_meta", "started")
    return canonical({name: value for name, value in seen.items() if name not in varying})


def answer(fold: Fold, ask: str, decision: Decision | None) -> None:
    """Sends the option that means it; where the agent offers none, the call is cancelled, and a person's own words
    follow as a prompt."""
    asked = fold.state["asks"].pop(ask)
    chosen = _chosen(asked["options"], decision)
    if chosen is None and isinstance(decision, Answered):
        fold.state["waiting"].append(f"A person answered: {decision.kept}")
    if chosen is None or chosen[0] != _YES:
        fold.state["denied"][asked["call"]] = True
    outcome = {"outcome": "cancelled"} if chosen is None else {"outcome": "selected", "optionId": chosen[1]}
    fold.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"outcome": outcome}})


def _chosen(options: list[list[str]], decision: Decision | None) -> list[str] | None:
    """The option that means the decision: its kind, its id, its name."""
    if isinstance(decision, Answered):
        return next((each for each in options if each[2] == decision.kept.strip()), None)
    wanted = (_YES,) if isinstance(decision, Allow) else _NO
    return next((each for kind in wanted for each in options if each[0] == kind), None)


def cancel_asks(fold: Fold) -> None:
    """Answers every open question as the protocol wants it for a turn that is cancelled."""
    for asked in fold.state["asks"].values():
        fold.state["denied"][asked["call"]] = True
        fold.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"outcome": {"outcome": "cancelled"}}})
    fold.state["asks"] = {}


def _merged(fold: Fold, call: str, update: dict[str, Any]) -> dict[str, Any]:
    known = fold.state["tools"].get(call, {})
    fresh = {name: value for name, value in update.items() if value is not None and name != "_meta"}
    if not fresh.get("rawInput"):
        fresh.pop("rawInput", None)
    seen: dict[str, Any] = {**known, **fresh}
    fold.state["tools"][call] = seen
    return seen


def _start(fold: Fold, call: str, seen: dict[str, Any]) -> None:
    if seen.get("started"):
        return
    seen["started"] = True
    kind = _kind(seen)
    edit = ACTS.get(kind) is Act.EDIT
    print_of = "" if edit else digest([kind, seen.get("title"), seen.get("rawInput")])
    summary = _command(seen) if kind == "execute" else _title(kind, seen)
    fold.report(ToolStarted(call, kind, one_line(summary), print_of))


def _kind(seen: dict[str, Any]) -> str:
    kind = seen.get("kind")
    return kind if isinstance(kind, str) and kind in ACTS else "other"


def _title(kind: str, seen: dict[str, Any]) -> str:
    """What the agent calls it, without the kind that it often begins with: that is shown before it anyway."""
    title = str(seen.get("title", ""))
    first, _, rest = title.partition(" ")
    return rest if rest and first.lower() == kind else title


def _raw(seen: dict[str, Any]) -> dict[str, Any]:
    raw = seen.get("rawInput")
    return raw if isinstance(raw, dict) else {}


def _command(seen: dict[str, Any]) -> str:
    command = _raw(seen).get("command", _raw(seen).get("cmd"))
    if isinstance(command, list):
        command = " ".join(map(str, command))
    return command if isinstance(command, str) else str(seen.get("title", "")).strip("`")


def _directory(seen: dict[str, Any]) -> str:
    where = _raw(seen).get("cwd", _raw(seen).get("workdir"))
    return where if isinstance(where, str) else ""


def _paths(seen: dict[str, Any]) -> tuple[str, ...]:
    """Every path that the request names, wherever it names it."""
    raw, places, content = _raw(seen), seen.get("locations"), seen.get("content")
    found = [raw.get(name) for name in _PATHS]
    for listed in (places, content):
        found += [each.get("path") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return tuple(dict.fromkeys(path for path in found if isinstance(path, str) and path))


def _output(seen: dict[str, Any]) -> str:
    raw = seen.get("rawOutput")
    if isinstance(raw, str) and raw:
        return raw
    content = seen.get("content")
    texts = [each.get("content") for each in content if isinstance(each, dict)] if isinstance(content, list) else []
    return "\n".join(str(text.get("text", "")) for text in texts if isinstance(text, dict))


def _exit_code(seen: dict[str, Any], failed: str) -> int | None:
    raw = seen.get("rawOutput")
    named = [raw.get(name) for name in ("exitCode", "exit_code", "exit")] if isinstance(raw, dict) else []
    code = next((code for each in named if (code := exit_status(each)) is not None), None)
    found = _EXIT_CODE.match(failed)
    return code if code is not None or found is None else int(found[1])
