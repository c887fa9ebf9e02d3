"""Codex's app server, line by line: what each defence in the driver is for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.agent_events import (
    Allow,
    Answered,
    Asked,
    Decision,
    Deny,
    Happening,
    Ready,
    Said,
    ToolEnded,
    ToolOutcome,
    ToolStarted,
    TurnEnded,
    TurnOutcome,
    Used,
)
from fleet.agent_events import Unknown as NotUnderstood
from fleet.agents.registry import driver
from fleet.exits import Exited
from fleet.ports import Brief, Image, Step
from fleet.questions import Option, Question
from tests.unit import agent_lines as lines

AGENT = driver("codex")
BRIEF = Brief("6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001", "do it", "/w", ("codex",))

THREAD = lines.answered(2, thread={"id": "t1"}, model="m")
BEGUN = (lines.answered(1), THREAD, lines.answered(3, turn={"id": "u1"}))


class Talk:
    """A conversation so far."""

    def __init__(self, *messages: lines.Message, brief: Brief = BRIEF) -> None:
        self.happened: list[Happening] = []
        self.sent: list[dict[str, Any]] = []
        self.take(AGENT.open(brief))
        self.hear(*messages)

    def take(self, step: Step) -> Step:
        self.state = step.state
        self.happened += step.happened
        self.sent += [json.loads(each) for each in step.send.splitlines()]
        return step

    def hear(self, *messages: lines.Message) -> None:
        for message in messages:
            self.take(AGENT.feed(self.state, lines.line(message)))

    def say(self, text: str) -> None:
        self.take(AGENT.say(self.state, text))

    def decide(self, ask: str, decision: Decision) -> None:
        self.take(AGENT.decide(self.state, ask, decision))

    def of(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.happened if isinstance(each, kind)]

    def requests(self, method: str) -> list[dict[str, Any]]:
        return [each["params"] for each in self.sent if each.get("method") == method]

    def words(self, method: str) -> list[list[str]]:
        return [[part["text"] for part in each["input"]] for each in self.requests(method)]


def test_work_that_may_change_files_is_asked_about_and_read_only_work_is_sandboxed() -> None:
    (change,) = Talk().requests("thread/start")
    assert (change["approvalPolicy"], change["approvalsReviewer"], change["cwd"]) == ("untrusted", "user", "/w")
    brief = Brief("u", "look", "/w", ("codex",), model="gpt-x", read_only=True)
    (read,) = Talk(brief=brief).requests("thread/start")
    assert (read["approvalPolicy"], read["sandbox"], read["model"]) == ("never", "read-only", "gpt-x")


def test_a_later_process_takes_up_the_thread() -> None:
    talk = Talk(THREAD, brief=Brief("u", "go on", "/w", ("codex",), resume="t1"))
    assert [each["threadId"] for each in talk.requests("thread/resume")] == ["t1"]
    assert talk.requests("thread/start") == []
    assert talk.of(Ready) == [Ready(resume="t1", model="m")]


def test_words_said_before_the_thread_is_there_go_with_the_prompt() -> None:
    talk = Talk()
    talk.say("and this")
    assert talk.words("turn/start") == []
    talk.hear(lines.answered(1), THREAD)
    assert talk.words("turn/start") == [["do it", "and this"]]


def test_words_said_before_the_turn_has_its_id_steer_it_then() -> None:
    talk = Talk(lines.answered(1), THREAD)
    talk.say("and this")
    assert talk.words("turn/steer") == []
    talk.hear(lines.notice("turn/started", turn={"id": "u1"}))
    assert talk.words("turn/steer") == [["and this"]]
    assert [each["expectedTurnId"] for each in talk.requests("turn/steer")] == ["u1"]


def test_words_that_crossed_with_the_turns_end_begin_another_turn_before_it_is_told() -> None:
    talk = Talk(*BEGUN)
    talk.say("late")
    talk.hear(lines.turn_over())
    assert talk.of(TurnEnded) == [] and talk.words("turn/start") == [["do it"]]
    talk.hear(lines.refused(4, "no active turn to steer"))
    assert talk.words("turn/start") == [["do it"], ["late"]]
    assert talk.of(TurnEnded) == []
    talk.hear(lines.answered(5, turn={"id": "u2"}), lines.turn_over())
    assert len(talk.of(TurnEnded)) == 1


def test_words_an_interrupted_turn_did_not_hear_go_with_the_next_ones() -> None:
    talk = Talk(*BEGUN)
    talk.say("unheard")
    talk.take(AGENT.interrupt(talk.state))
    talk.hear(lines.answered(4, turnId="u1"), lines.answered(5), lines.turn_over("interrupted"))
    assert talk.of(TurnEnded) == [TurnEnded("", TurnOutcome.FAILED, "interrupted")]
    assert len(talk.words("turn/start")) == 1
    talk.say("go on")
    assert talk.words("turn/start")[1:] == [["unheard", "go on"]]


def test_words_that_were_heard_are_not_said_again() -> None:
    talk = Talk(*BEGUN)
    talk.say("in time")
    (steer,) = talk.requests("turn/steer")
    talk.hear(
        lines.answered(4, turnId="u1"),
        lines.item("started", type="userMessage", id="m1", clientId=steer["clientUserMessageId"], content=[]),
        lines.turn_over(),
    )
    assert len(talk.of(TurnEnded)) == 1
    assert len(talk.words("turn/start")) == 1


def test_a_denials_reason_that_came_too_late_begins_no_turn() -> None:
    talk = Talk(*BEGUN, lines.question(0, "commandExecution", "c1", command="rm"))
    talk.decide("u1/0", Deny("not that"))
    assert {"id": 0, "result": {"decision": "decline"}} in talk.sent
    assert talk.words("turn/steer") == [["That was denied: not that"]]
    talk.hear(lines.turn_over(), lines.refused(4, "no active turn to steer"))
    assert len(talk.of(TurnEnded)) == 1 and len(talk.words("turn/start")) == 1


def test_an_interrupt_before_the_turn_has_its_id_is_sent_with_it() -> None:
    talk = Talk(lines.answered(1), THREAD)
    talk.take(AGENT.interrupt(talk.state))
    assert talk.requests("turn/interrupt") == []
    talk.hear(lines.answered(3, turn={"id": "u1"}))
    assert talk.requests("turn/interrupt") == [{"threadId": "t1", "turnId": "u1"}]


def test_an_interrupt_before_the_prompt_was_sent_keeps_it_back() -> None:
    talk = Talk(lines.answered(1))
    talk.take(AGENT.interrupt(talk.state))
    talk.hear(THREAD)
    assert [ended.error for ended in talk.of(TurnEnded)] == ["interrupted"]
    assert talk.requests("turn/start") == []


@pytest.mark.parametrize(("number", "method"), [(1, "initialize"), (2, "thread/start")])
def test_a_refused_beginning_ends_the_turn_with_the_reason(number: int, method: str) -> None:
    talk = Talk(lines.refused(number, "not logged in"))
    refused = f"{method} was refused: not logged in"
    assert talk.of(TurnEnded) == [TurnEnded("", TurnOutcome.NOT_LOGGED_IN, refused)]


def test_a_patch_is_asked_about_with_every_path_it_touches() -> None:
    moved = {"path": "/w/a", "kind": {"type": "update", "move_path": "/w/b"}, "diff": "x"}
    changes = [moved, {"path": "/w/c", "kind": {"type": "delete"}, "diff": ""}]
    talk = Talk(
        *BEGUN,
        lines.item("started", type="fileChange", id="c1", changes=changes, status="inProgress"),
        lines.question(0, "fileChange", "c1"),
    )
    (asked,) = talk.of(Asked)
    assert (asked.tool, asked.paths) == ("apply_patch", ("/w/a", "/w/b", "/w/c"))
    assert json.loads(asked.request)["changes"] == changes


def test_the_same_command_asks_for_the_same_approval_at_any_time() -> None:
    talk = Talk(*BEGUN)
    for number, call in enumerate(("c1", "c2")):
        talk.hear(lines.question(number, "commandExecution", call, command="rm x", cwd="/w", startedAtMs=number))
    first, second = talk.of(Asked)
    assert first.command == "rm x" and first.request == second.request
    assert (first.ask, second.ask) == ("u1/0", "u1/1")


def test_permissions_are_granted_for_a_turn_at_most_and_denied_as_none() -> None:
    wanted = {"network": {"enabled": True}}
    talk = Talk(*BEGUN, *(lines.question(n, "permissions", "c", permissions=wanted) for n in (0, 1)))
    talk.decide("u1/0", Allow())
    talk.decide("u1/1", Deny(""))
    assert [each["result"] for each in talk.sent[-2:]] == [
        {"permissions": wanted, "scope": "turn"},
        {"permissions": {}, "scope": "turn"},
    ]


def test_a_question_taken_back_can_no_longer_be_answered() -> None:
    talk = Talk(*BEGUN, lines.question(0, "commandExecution", "c1", command="rm"))
    talk.hear(lines.notice("serverRequest/resolved", requestId=0))
    assert AGENT.decide(talk.state, "u1/0", Allow()) == Step(talk.state)


def test_a_question_nobody_here_understands_is_refused_and_kept() -> None:
    talk = Talk(*BEGUN, {"id": 9, "method": "item/tool/call", "params": {}})
    assert talk.sent[-1]["id"] == 9 and "error" in talk.sent[-1]
    assert len(talk.of(NotUnderstood)) == 1


def test_how_a_tool_ended() -> None:
    talk = Talk(*BEGUN)
    for call, status, code in (
        ("c1", "completed", 0),
        ("c2", "completed", 3),
        ("c3", "failed", None),
        ("c4", "declined", None),
    ):
        talk.hear(lines.command_item("completed", call, "ls", status, code))
    assert [(end.outcome, end.exit_code) for end in talk.of(ToolEnded)] == [
        (ToolOutcome.OK, 0),
        (ToolOutcome.FAILED, 3),
        (ToolOutcome.FAILED, None),
        (ToolOutcome.DENIED, None),
    ]
    assert len(talk.of(ToolStarted)) == 4


def test_a_subagents_tools_count_and_its_words_and_turns_are_not_ours() -> None:
    talk = Talk(*BEGUN)
    talk.hear(
        lines.notice("turn/started", "t2", turn={"id": "u9"}),
        lines.command_item("completed", "c9", "ls", "completed", 0, thread="t2"),
        lines.item("completed", "t2", type="agentMessage", id="m9", text="inner words"),
        lines.turn_over(thread="t2"),
        lines.item("completed", type="agentMessage", id="m1", text="all done"),
        lines.turn_over(),
    )
    assert [said.text for said in talk.of(Said)] == ["all done"]
    assert [ended.claim for ended in talk.of(TurnEnded)] == ["all done"]
    assert len(talk.of(ToolEnded)) == 1
    assert [started.parent for started in talk.of(ToolStarted)] == ["t2"]


def test_a_resumed_thread_reports_only_what_it_uses_now() -> None:
    brief = Brief("u", "go on", "/w", ("codex",), resume="t1")
    told_at_once = Talk(lines.answered(1), THREAD, lines.tokens((500, 50), (500, 50)), brief=brief)
    told_at_once.hear(lines.answered(3, turn={"id": "u1"}), lines.tokens((600, 60), (100, 10)))
    told_late = Talk(*BEGUN, lines.tokens((600, 60), (100, 10)), brief=brief)
    for talk in (told_at_once, told_late):
        talk.hear(lines.tokens((650, 61), (50, 1)))
        assert [(used.input_tokens, used.output_tokens) for used in talk.of(Used)] == [(100, 10), (50, 1)]


def test_what_a_subagent_uses_counts_from_its_first_request_on() -> None:
    talk = Talk(*BEGUN, lines.tokens((100, 10), (100, 10)))
    inner = lines.tokens((600, 60), (500, 50))  # its thread began with a copy of ours
    inner["params"]["threadId"] = "t2"
    more = lines.tokens((700, 61), (100, 1))
    more["params"]["threadId"] = "t2"
    talk.hear(inner, inner, more, lines.tokens((150, 11), (50, 1)))
    used = [(used.input_tokens, used.output_tokens) for used in talk.of(Used)]
    assert used == [(100, 10), (500, 50), (100, 1), (50, 1)]


def test_a_model_that_the_vendor_puts_in_the_place_of_another_is_reported() -> None:
    talk = Talk(*BEGUN, lines.notice("model/rerouted", turnId="u1", fromModel="m", toModel="small", reason="x"))
    assert [(ready.resume, ready.model) for ready in talk.of(Ready)] == [("t1", "m"), ("t1", "small")]


def elicits(meta: Any = None, **properties: Any) -> lines.Message:
    schema = {"type": "object", "properties": properties}
    asks = lines.notice(
        "mcpServer/elicitation/request",
        turnId="u1",
        _meta=meta,
        message="Drop it?",
        mode="form",
        requestedSchema=schema,
    )
    return {"id": 0, **asks}


def test_a_server_is_answered_by_a_person_and_codexs_own_question_by_the_rules() -> None:
    (own,) = Talk(*BEGUN, elicits({"codex_approval_kind": "mcp_tool_call"})).of(Asked)
    (plain,) = Talk(*BEGUN, elicits()).of(Asked)
    forged = Talk(*BEGUN, elicits({"codex_approval_kind": "mcp_tool_call"}, to={"enum": ["a"], "type": "string"}))
    (form,) = forged.of(Asked)
    assert (own.person, own.questions) == ("", ()) and plain.person and form.person
    assert form.questions == (Question("Drop it? (to)", (Option("a"),)),)
    forged.decide("u1/0", Answered("a"))
    assert forged.sent[-1]["result"] == {"action": "accept", "content": {"to": "a"}, "_meta": None}
    for talk, decision in ((Talk(*BEGUN, elicits(x={})), Allow()), (Talk(*BEGUN, elicits()), Deny(""))):
        talk.decide("u1/0", decision)
        assert talk.sent[-1]["result"]["action"] == "decline"


def test_a_turn_that_nobody_asked_for_ends_no_turn() -> None:
    talk = Talk(*BEGUN, lines.turn_over(), lines.notice("turn/started", turn={"id": "u2"}), lines.turn_over())
    assert len(talk.of(TurnEnded)) == 1


def test_a_process_that_is_gone_ends_an_open_turn_and_only_that() -> None:
    talk = Talk(*BEGUN)
    talk.take(AGENT.ended(talk.state, Exited(0)))
    talk.take(AGENT.ended(talk.state, Exited(0)))
    (ended,) = talk.of(TurnEnded)
    assert (ended.outcome, ended.exit) == (TurnOutcome.FAILED, Exited(0)) and "exit status 0" in ended.error


def ask(number: int, **more: Any) -> dict[str, Any]:
    options = [{"label": "red", "description": "warm"}, {"label": "blue", "description": ""}]
    colour = {"id": "q1", "header": "Colour", "question": "Which?", "isOther": True, "options": options, **more}
    why = {"id": "q2", "header": "Why", "question": "Why?", "options": None}
    params = {"threadId": "t1", "turnId": "u1", "itemId": "c1", "questions": [colour, why], "isBlocking": True}
    return {"id": number, "method": "item/tool/requestUserInput", "params": params}


def test_a_question_to_the_person_is_answered_by_its_ids() -> None:
    talk = Talk(*BEGUN, ask(0), ask(1), ask(2))
    asked = talk.of(Asked)[0]
    assert asked.tool == "request_user_input"
    assert asked.questions == (Question("Which?", (Option("red", "warm"), Option("blue"))), Question("Why?"))
    talk.decide("u1/0", Answered("blue\nit fits"))
    talk.decide("u1/1", Answered("you choose"))
    talk.decide("u1/2", Deny(""))
    assert [each["result"]["answers"] for each in talk.sent[-3:]] == [
        {"q1": {"answers": ["blue"]}, "q2": {"answers": ["it fits"]}},
        {"q1": {"answers": ["you choose"]}, "q2": {"answers": ["you choose"]}},
        {},
    ]


@pytest.mark.parametrize("odd", [{"isSecret": True}, {"id": None}])
def test_a_secret_is_not_asked_for_in_a_chat_and_nothing_waits_for_what_cannot_be_answered(
    odd: dict[str, Any],
) -> None:
    talk = Talk(*BEGUN, ask(0, **odd))
    assert talk.sent[-1]["id"] == 0 and "error" in talk.sent[-1]
    assert talk.of(Asked) == []


def test_pictures_go_with_the_first_words_only() -> None:
    pictures = (Image("image/png", b"\x89P", "/in/a.png"),)
    brief = Brief("u", "see this", "/w", ("codex",), attachments=("/in/a.png",), images=pictures)
    talk = Talk(*BEGUN, brief=brief)
    (first,) = talk.requests("turn/start")
    words, picture = first["input"]
    assert words["text"] == "see this\n\nAttached files:\n- /in/a.png"
    assert picture == {"type": "localImage", "path": "/in/a.png"}
    talk.hear(lines.turn_over())
    talk.say("and this")
    assert [part["type"] for part in talk.requests("turn/start")[1]["input"]] == ["text"]
