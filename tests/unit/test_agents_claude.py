"""Claude Code's protocol, line by line: what each defence in the driver is for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.agent_events import (
    Allow,
    Answered,
    Asked,
    Deny,
    Happening,
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
from fleet.exits import Lost
from fleet.ports import Brief, Image, Step
from fleet.questions import Option, Question
from tests.unit import agent_lines as lines

AGENT = driver("claude")
BRIEF = Brief("6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001", "do it", "/w", ("claude",))


class Talk:
    """A conversation so far."""

    def __init__(self, *messages: lines.Message, brief: Brief = BRIEF) -> None:
        self.happened: list[Happening] = []
        self.sent: list[dict[str, Any]] = []
        self.eof = False
        self.take(AGENT.open(brief))
        self.hear(*messages)

    def take(self, step: Step) -> Step:
        self.state = step.state
        self.happened += step.happened
        self.sent += [json.loads(each) for each in step.send.splitlines()]
        self.eof = self.eof or step.eof
        return step

    def hear(self, *messages: lines.Message) -> None:
        for message in messages:
            self.take(AGENT.feed(self.state, lines.line(message)))

    def of(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.happened if isinstance(each, kind)]


BEGUN = (lines.CONFIRMED, lines.INIT, lines.heard("do it"))


def test_the_command_line_holds_no_word_of_the_prompt() -> None:
    first = AGENT.launch(Brief("uuid", "--danger", "/w", ("node", "claude.js"), model="opus")).argv
    assert first[:2] == ("node", "claude.js") and "--danger" not in first
    assert first[first.index("--session-id") + 1] == "uuid" and "--resume" not in first
    assert first[first.index("--model") + 1] == "opus"
    assert first[first.index("--setting-sources") + 1] == "user"
    later = AGENT.launch(Brief("uuid", "p", "/w", ("claude",), resume="s1")).argv
    assert later[later.index("--resume") + 1] == "s1" and "--session-id" not in later


def test_a_question_may_wait_for_days() -> None:
    (initialize,) = Talk().sent
    (hook,) = initialize["request"]["hooks"]["PreToolUse"]
    assert hook["timeout"] >= 3 * 24 * 3600


def test_the_prompt_is_held_back_until_the_hook_is_confirmed() -> None:
    talk = Talk()
    assert [each["type"] for each in talk.sent] == ["control_request"]
    talk.take(AGENT.say(talk.state, "and this"))
    assert len(talk.sent) == 1
    talk.hear(lines.CONFIRMED)
    assert [each["message"]["content"] for each in talk.sent[1:]] == ["do it", "and this"]


def test_an_agent_that_refuses_the_hook_gets_no_prompt() -> None:
    refusal = {"subtype": "error", "request_id": "airboss-initialize", "error": "unknown hook"}
    talk = Talk({"type": "control_response", "response": refusal})
    (ended,) = talk.of(TurnEnded)
    assert ended.outcome is TurnOutcome.FAILED and "unknown hook" in ended.error
    assert talk.eof and len(talk.sent) == 1


def test_an_edit_allowed_on_the_hook_is_not_asked_again() -> None:
    talk = Talk(*BEGUN, lines.hook("r1", "c1", "Write", file_path="/w/a", content="x"))
    talk.take(AGENT.decide(talk.state, "r1", Allow()))
    talk.hear(lines.can_use("r2", "c1", "Write", content="x", file_path="/w/a"))
    assert len(talk.of(Asked)) == 1
    answer = talk.sent[-1]["response"]
    assert answer["request_id"] == "r2"
    assert answer["response"] == {"behavior": "allow", "updatedInput": {"file_path": "/w/a", "content": "x"}}


def test_an_edit_that_changed_after_it_was_allowed_is_asked_again() -> None:
    """As another hook of the login can change it. So a yes to the hook has the agent ask with what it will do."""
    talk = Talk(*BEGUN, lines.hook("r1", "c1", "Write", file_path="/w/a", content="x"))
    talk.take(AGENT.decide(talk.state, "r1", Allow()))
    assert talk.sent[-1]["response"]["response"]["hookSpecificOutput"]["permissionDecision"] == "ask"
    talk.hear(lines.can_use("r2", "c1", "Write", file_path="/w/secret", content="x"))
    assert [asked.paths for asked in talk.of(Asked)] == [("/w/a",), ("/w/secret",)]


def test_what_was_allowed_once_is_asked_for_the_next_call() -> None:
    talk = Talk(*BEGUN, lines.hook("r1", "c1", "Bash", command="ls"))
    talk.take(AGENT.decide(talk.state, "r1", Allow()))
    talk.hear(lines.hook("r2", "c2", "Bash", command="ls"))
    assert len(talk.of(Asked)) == 2


def test_a_denial_is_told_with_its_reason_both_ways() -> None:
    talk = Talk(
        *BEGUN, lines.hook("r1", "c1", "Edit", file_path="/w/a"), lines.can_use("r2", "c2", "WebFetch", url="u")
    )
    talk.take(AGENT.decide(talk.state, "r1", Deny("locked by t7")))
    talk.take(AGENT.decide(talk.state, "r2", Deny("no network")))
    on_hook, on_permission = (each["response"]["response"] for each in talk.sent[-2:])
    assert on_hook["hookSpecificOutput"]["permissionDecision"] == "deny"
    assert on_hook["hookSpecificOutput"]["permissionDecisionReason"] == "locked by t7"
    assert on_permission == {"behavior": "deny", "message": "no network"}


def test_a_question_to_the_person_is_asked_under_its_own_name() -> None:
    talk = Talk(*BEGUN, lines.can_use("r1", "c1", "AskUserQuestion", questions=[{"question": "Which?"}]))
    (asked,) = talk.of(Asked)
    assert (asked.tool, asked.command, asked.paths) == ("AskUserQuestion", "", ())
    assert "Which?" in asked.request


def test_a_question_taken_back_can_no_longer_be_answered() -> None:
    talk = Talk(*BEGUN, lines.hook("r1", "c1", "Bash", command="ls"))
    talk.hear({"type": "control_cancel_request", "request_id": "r1"})
    assert AGENT.decide(talk.state, "r1", Allow()) == Step(talk.state)


FORM = {"type": "object", "properties": {"confirm": {"type": "boolean"}, "many": {"type": "integer"}}}


def test_what_a_server_asks_is_asked_of_a_person_with_each_field_of_its_form() -> None:
    asks = {"subtype": "elicitation", "mcp_server_name": "odd", "message": "Drop it?", "requested_schema": FORM}
    request = {"type": "control_request", "request_id": "r1", "request": asks}
    talk = Talk(*BEGUN, request)
    (asked,) = talk.of(Asked)
    assert [question.text for question in asked.questions] == ["Drop it? (confirm)", "Drop it? (many)"]
    assert [option.label for option in asked.questions[0].options] == ["yes", "no"] and asked.person
    for decision, answer in (
        (Answered("yes\n3"), {"action": "accept", "content": {"confirm": True, "many": 3}}),
        (Answered("yes\nsome"), {"action": "decline"}),
        (Allow(), {"action": "decline"}),
        (Deny(""), {"action": "decline"}),
    ):
        talk = Talk(*BEGUN, request)
        talk.take(AGENT.decide(talk.state, "r1", decision))
        assert talk.sent[-1]["response"]["response"] == answer


def blocked(words: str) -> lines.Message:
    return {"type": "system", "subtype": "informational", "content": words, "prevent_continuation": True}


def test_a_prompt_that_a_hook_of_the_login_takes_away_ends_its_turn() -> None:
    over = {**lines.result("no prompts on fridays"), "num_turns": 0}
    talk = Talk(lines.CONFIRMED, lines.INIT, blocked("no prompts on fridays"), over)
    (ended,) = talk.of(TurnEnded)
    assert (ended.outcome, ended.error) == (TurnOutcome.FAILED, "no prompts on fridays")
    talk = Talk(*BEGUN)
    talk.take(AGENT.say(talk.state, "also this"))
    talk.hear(blocked("not this"), lines.result())
    assert [each.error for each in talk.of(TurnEnded)] == ["not this"], "words that it will never take up"


def test_a_turn_that_a_hook_of_the_login_ends_is_not_complete() -> None:
    talk = Talk(*BEGUN, {**lines.result(""), "terminal_reason": "hook_stopped"})
    assert [each.outcome for each in talk.of(TurnEnded)] == [TurnOutcome.FAILED]


@pytest.mark.parametrize("kind", ["thinking_tokens", "status", "compact_boundary"])
def test_how_far_it_is_fills_no_ledger(kind: str) -> None:
    assert Talk(*BEGUN, {"type": "system", "subtype": kind}).happened == Talk(*BEGUN).happened


def test_a_question_nobody_here_understands_is_refused_and_kept() -> None:
    talk = Talk(*BEGUN, {"type": "control_request", "request_id": "r1", "request": {"subtype": "dialog"}})
    assert talk.sent[-1]["response"]["subtype"] == "error"
    assert len(talk.of(NotUnderstood)) == 1


def test_how_a_tool_ended() -> None:
    talk = Talk(*BEGUN, lines.hook("r1", "c3", "Bash", command="rm"))
    talk.take(AGENT.decide(talk.state, "r1", Deny("no")))
    talk.hear(
        lines.tool_result("c1", "Exit code 0 was printed"),
        lines.tool_result("c2", "Exit code 137\nKilled", is_error=True),
        lines.tool_result("c3", "Exit code 1: no", is_error=True),
        lines.tool_result("c4", "No such tool", is_error=True),
    )
    assert [(end.outcome, end.exit_code) for end in talk.of(ToolEnded)] == [
        (ToolOutcome.OK, None),
        (ToolOutcome.FAILED, 137),
        (ToolOutcome.DENIED, None),
        (ToolOutcome.FAILED, None),
    ]


def test_a_subagents_tools_count_and_its_words_are_not_the_turns() -> None:
    talk = Talk(*BEGUN)
    talk.hear(
        lines.assistant(lines.text("I look"), lines.tool_use("c1", "Task", description="look")),
        lines.assistant(
            lines.text("inner words"), lines.tool_use("c2", "Bash", command="ls -l\nmore"), parent="c1"
        ),
    )
    assert [said.text for said in talk.of(Said)] == ["I look"]
    started = [(each.call, each.tool, each.summary, each.parent) for each in talk.of(ToolStarted)]
    assert started == [("c1", "Task", "look", ""), ("c2", "Bash", "ls -l more", "c1")]


def test_cost_is_told_as_exact_differences_of_a_running_sum() -> None:
    talk = Talk(*BEGUN)
    total = 0.0
    for turn in range(1, 11):
        total += 0.1  # 0.1 added ten times is 0.9999999999999999
        talk.hear(lines.result(cost=total, tokens=(10 * turn, turn)))
        talk.take(AGENT.say(talk.state, "more"))
        talk.hear(lines.INIT)
    assert [used.cost_udollar for used in talk.of(Used)] == [100_000] * 10
    assert {(used.input_tokens, used.output_tokens) for used in talk.of(Used)} == {(10, 1)}


def test_words_that_came_too_late_hold_the_turn_open() -> None:
    talk = Talk(*BEGUN)
    talk.take(AGENT.say(talk.state, "late"))
    talk.hear(lines.result("first"))
    assert talk.of(TurnEnded) == []
    talk.hear(lines.INIT, lines.heard("late"), lines.result("second"))
    assert [ended.claim for ended in talk.of(TurnEnded)] == ["second"]


def test_words_that_steered_do_not_hold_the_turn_open() -> None:
    talk = Talk(*BEGUN)
    talk.take(AGENT.say(talk.state, "in time"))
    talk.hear(lines.heard("in time"), lines.result("done"))
    assert [ended.claim for ended in talk.of(TurnEnded)] == ["done"]


def test_a_slash_command_which_is_never_echoed_ends_its_turn() -> None:
    talk = Talk(lines.CONFIRMED, lines.INIT, lines.result("/help is not available"))
    assert [ended.claim for ended in talk.of(TurnEnded)] == ["/help is not available"]


def test_a_turn_that_nobody_asked_for_ends_no_turn() -> None:
    talk = Talk(*BEGUN, lines.result("done"), lines.INIT, lines.result("a task in the background is done"))
    assert len(talk.of(TurnEnded)) == 1


def test_a_turn_that_went_wrong_says_so() -> None:
    talk = Talk(*BEGUN, lines.result("API Error: 400", is_error=True))
    assert talk.of(TurnEnded) == [TurnEnded("API Error: 400", TurnOutcome.FAILED, "API Error: 400")]


@pytest.mark.parametrize(
    "more",
    [{"subtype": "error_max_turns", "is_error": False}, {"subtype": "error_during_execution"}, {"is_error": "yes"}],
)
def test_a_turn_that_is_called_an_error_in_any_way_is_not_completed(more: dict[str, object]) -> None:
    talk = Talk(*BEGUN, {**lines.result("stopped"), **more})
    assert [ended.outcome for ended in talk.of(TurnEnded)] == [TurnOutcome.FAILED]


@pytest.mark.parametrize("at", [-1, 1_000, 1_795_989_205_076, 10**4000, "soon", None])
def test_a_reset_hour_that_is_none_is_not_shown(at: object) -> None:
    limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": at}}
    talk = Talk(*BEGUN, limit, lines.result("You have hit your session limit", is_error=True))
    assert [ended.error for ended in talk.of(TurnEnded)] == ["You have hit your session limit"]


def test_an_interrupt_before_the_prompt_was_sent_keeps_it_back() -> None:
    talk = Talk()
    talk.take(AGENT.interrupt(talk.state))
    talk.hear(lines.CONFIRMED)
    assert [ended.error for ended in talk.of(TurnEnded)] == ["interrupted"]
    assert [each["type"] for each in talk.sent] == ["control_request"]


def test_a_process_that_is_gone_ends_an_open_turn_and_only_that() -> None:
    talk = Talk(*BEGUN)
    talk.take(AGENT.ended(talk.state, Lost("no exit record")))
    talk.take(AGENT.ended(talk.state, Lost("no exit record")))
    (ended,) = talk.of(TurnEnded)
    assert ended.outcome is TurnOutcome.FAILED and "no exit record" in ended.error
    assert ended.exit == Lost("no exit record")


def test_attachments_are_named_to_the_agent() -> None:
    talk = Talk(brief=Brief("u", "see this", "/w", ("claude",), attachments=("/in/a b.png",)))
    talk.hear(lines.CONFIRMED)
    assert talk.sent[-1]["message"]["content"] == "see this\n\nAttached files:\n- /in/a b.png"


def test_pictures_are_shown_and_do_not_hold_the_turn_open() -> None:
    brief = Brief(
        "u", "see this", "/w", ("claude",), attachments=("/in/a.png",), images=(Image("image/png", b"\x89P"),)
    )
    talk = Talk(lines.CONFIRMED, brief=brief)
    text, picture = talk.sent[-1]["message"]["content"]
    assert text == {"type": "text", "text": "see this\n\nAttached files:\n- /in/a.png"}
    assert picture["source"] == {"type": "base64", "media_type": "image/png", "data": "iVA="}
    talk.hear(lines.INIT)
    assert talk.state["unheard"] == [], "what began the turn need not be echoed"


def test_a_question_comes_with_its_options() -> None:
    options = [{"label": "red", "description": "warm"}, {"label": "blue"}]
    given = [{"question": "Which?", "header": "Colour", "options": options, "multiSelect": True}]
    talk = Talk(*BEGUN, lines.can_use("r1", "c1", "AskUserQuestion", questions=given))
    (asked,) = talk.of(Asked)
    assert asked.questions == (Question("Which?", (Option("red", "warm"), Option("blue")), many=True),)
    talk.take(AGENT.decide(talk.state, "r1", Answered("red, blue")))
    told = talk.sent[-1]["response"]["response"]
    assert told == {"behavior": "allow", "updatedInput": {"questions": given, "answers": {"Which?": "red, blue"}}}
