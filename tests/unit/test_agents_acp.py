"""The Agent Client Protocol, line by line: what each defence in the driver is for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.agent_events import (
    Act,
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
    Unknown,
    Used,
)
from fleet.agents.acp import AcpDriver
from fleet.agents.acts import ask_rules
from fleet.exits import Exited
from fleet.ports import Brief, DriverState, Image, Step
from tests.unit.agent_lines import ACP_OPTIONS, Message, acp_asks, acp_update

AGENT = AcpDriver()
BRIEF = Brief("c", "do it", "/w", ("agent",))


class Talk:
    """A conversation so far; ``can`` is what the agent says that it can do."""

    def __init__(self, brief: Brief = BRIEF, **can: Any) -> None:
        self.state: DriverState = {}
        self.happened: list[Happening] = []
        self.sent: list[dict[str, Any]] = []
        self.take(AGENT.open(brief))
        self.answer(protocolVersion=1, agentCapabilities=can)

    def take(self, step: Step) -> None:
        self.state = step.state
        self.happened += step.happened
        self.sent += [json.loads(line) for line in step.send.splitlines()]

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.take(AGENT.feed(self.state, json.dumps({"jsonrpc": "2.0", **message}).encode()))

    def answer(self, **result: Any) -> None:
        """Answers our last request."""
        self.hear({"id": self.state["number"], "result": result})

    def refuse(self, code: int, message: str, number: int = 0) -> None:
        self.hear({"id": number or self.state["number"], "error": {"code": code, "message": message}})

    def begin(self) -> Talk:
        self.answer(sessionId="s1", models={"currentModelId": "m1", "availableModels": []})
        return self

    def decide(self, decision: Decision) -> None:
        asked = self.of(Asked)[-1]
        assert isinstance(asked, Asked)
        self.take(AGENT.decide(self.state, asked.ask, decision))

    def of(self, kind: type[Happening]) -> list[Happening]:
        return [each for each in self.happened if isinstance(each, kind)]

    @property
    def methods(self) -> list[str]:
        return [each.get("method", "answer") for each in self.sent]

    def last(self) -> TurnEnded:
        """How the turn ended that ended last."""
        ended = self.happened[-1]
        assert isinstance(ended, TurnEnded)
        return ended


def say(text: str) -> Message:
    return acp_update("agent_message_chunk", content={"type": "text", "text": text})


def test_a_session_begins_with_its_model_and_the_pictures() -> None:
    picture = Image("image/png", b"x")
    talk = Talk(Brief("c", "do it", "/w", ("agent",), model="m2", images=(picture,))).begin()
    assert talk.methods == ["initialize", "session/new", "session/set_model"]
    assert talk.sent[0]["params"]["clientCapabilities"] == {
        "fs": {"readTextFile": False, "writeTextFile": False},
        "terminal": False,
    }
    talk.answer()
    assert talk.of(Ready) == [Ready("s1", "m2")]
    words, image = talk.sent[-1]["params"]["prompt"]
    assert words["text"] == "do it" and image["mimeType"] == "image/png"


@pytest.mark.parametrize(
    ("can", "method"),
    [({"loadSession": True}, "session/load"), ({"sessionCapabilities": {"resume": {}}}, "session/resume")],
)
def test_a_conversation_is_continued_as_the_agent_can_and_old_words_are_not_said_again(
    can: dict[str, Any], method: str
) -> None:
    talk = Talk(Brief("c", "go on", "/w", ("agent",), resume="s0"), **can)
    assert (talk.sent[-1]["method"], talk.sent[-1]["params"]["sessionId"]) == (method, "s0")
    talk.hear(
        say("of before"), acp_update("tool_call", toolCallId="c0", kind="execute", rawInput={"command": "ls"})
    )
    talk.answer()
    assert talk.happened == [Ready("s0", "")]
    talk.hear(say("new"))
    talk.answer(stopReason="end_turn")
    assert talk.last().claim == "new"


def test_a_conversation_that_cannot_be_continued_is_lost_and_a_login_that_is_missing_is_not() -> None:
    gone = Talk(Brief("c", "go on", "/w", ("agent",), resume="s0"))
    assert gone.last().outcome is TurnOutcome.CONVERSATION_LOST and "s0" in gone.last().error
    refused = Talk(Brief("c", "go on", "/w", ("agent",), resume="s0"), loadSession=True)
    refused.refuse(-32002, "Resource not found: s0")
    assert refused.last().outcome is TurnOutcome.CONVERSATION_LOST
    unknown = Talk()
    unknown.refuse(-32000, "Authentication required")
    assert unknown.last().outcome is TurnOutcome.NOT_LOGGED_IN


def test_chunks_are_said_together_and_the_claim_is_what_came_after_the_last_tool() -> None:
    talk = Talk().begin()
    talk.hear(say("I "), say("look"))
    call = {"toolCallId": "c1", "kind": "execute", "title": "ls"}
    talk.hear(
        acp_update("tool_call", **call, rawInput={}), acp_update("tool_call_update", **call, status="completed")
    )
    talk.hear(say("all "), say("done"))
    talk.answer(stopReason="end_turn", usage={"inputTokens": 3, "cachedReadTokens": 4, "outputTokens": 5})
    assert talk.of(Said) == [Said("I look"), Said("all done")]
    assert talk.of(Used) == [Used(7, 5, 0)]
    assert talk.last().claim == "all done" and talk.last().completed
    long = Talk().begin()
    long.hear(*(say("x" * 99 + "\n") for _ in range(100)))
    assert len(long.of(Said)) >= 2 and len(long.state["text"]) < 5_000


def test_a_call_is_reported_once_with_its_arguments_and_ends_once() -> None:
    talk = Talk().begin()
    for status, raw in (("pending", {}), ("pending", {"command": "false"}), ("in_progress", {}), ("failed", {})):
        content = [{"type": "content", "content": {"type": "text", "text": "Exit code 3\nno"}}]
        call = {"toolCallId": "c1", "kind": "execute", "title": "`false`", "content": content}
        talk.hear(acp_update("tool_call_update", **call, status=status, rawInput=raw))
    talk.hear(acp_update("tool_call_update", toolCallId="c1", status="completed"))
    (started,), (ended,) = talk.of(ToolStarted), talk.of(ToolEnded)
    assert isinstance(started, ToolStarted) and (started.tool, started.summary) == ("execute", "false")
    assert started.fingerprint
    assert isinstance(ended, ToolEnded) and (ended.outcome, ended.exit_code) == (ToolOutcome.FAILED, 3)


def test_a_title_that_begins_with_its_kind_does_not_say_it_twice() -> None:
    talk = Talk().begin()
    for number, (kind, title) in enumerate([("edit", "Edit a.py"), ("read", "Look at a.py"), ("edit", "Edit")]):
        call = {"toolCallId": f"c{number}", "kind": kind, "title": title, "rawInput": {"path": "a.py"}}
        talk.hear(acp_update("tool_call", **call))
    shown = [(each.tool, each.summary) for each in talk.of(ToolStarted) if isinstance(each, ToolStarted)]
    assert shown == [("edit", "a.py"), ("read", "Look at a.py"), ("edit", "Edit")]


def test_a_question_has_its_kind_its_paths_and_the_option_that_is_not_for_always() -> None:
    talk = Talk().begin()
    raw, places = {"file_path": "/w/a", "content": "x"}, [{"path": "/w/b"}]
    content = [{"type": "diff", "path": "/w/c", "newText": "x"}]
    talk.hear(acp_asks(7, "c1", kind="edit", title="Write", rawInput=raw, locations=places, content=content))
    (asked,) = talk.of(Asked)
    assert isinstance(asked, Asked) and asked.act is Act.EDIT and asked.paths == ("/w/a", "/w/b", "/w/c")
    assert "x" in asked.request
    talk.decide(Allow())
    assert talk.sent[-1] == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {"outcome": {"outcome": "selected", "optionId": "yes-once"}},
    }
    before = len(talk.sent)
    talk.decide(Deny("twice"))
    assert len(talk.sent) == before
    assert ask_rules("acp", ["edit"]).cover(Act.EDIT, "delete")


def test_a_denial_chooses_no_and_its_reason_is_the_next_prompt() -> None:
    talk = Talk().begin()
    talk.hear(acp_asks(7, "c1", kind="execute", title="rm", rawInput={"command": "rm"}))
    talk.decide(Deny("held by t7"))
    assert talk.sent[-1]["result"]["outcome"]["optionId"] == "no-once"
    talk.hear(acp_update("tool_call_update", toolCallId="c1", status="failed"))
    (ended,) = talk.of(ToolEnded)
    assert isinstance(ended, ToolEnded) and ended.outcome is ToolOutcome.DENIED
    talk.answer(stopReason="end_turn")
    assert not talk.of(TurnEnded), "the agent has yet to hear why"
    assert "held by t7" in talk.sent[-1]["params"]["prompt"][0]["text"]
    never = Talk().begin()
    options = [option for option in ACP_OPTIONS if "reject" not in option["kind"]]
    never.hear(acp_asks(8, "c1", options=options, kind="execute", rawInput={"command": "rm"}))
    never.decide(Deny(""))
    assert never.sent[-1]["result"]["outcome"] == {"outcome": "cancelled"}


@pytest.mark.parametrize("mode", ["bypassPermissions", "acceptEdits", "dontAsk", "plan", "yolo"])
def test_an_agent_that_would_not_ask_is_told_to_before_it_gets_the_prompt(mode: str) -> None:
    talk = Talk()
    talk.answer(sessionId="s1", modes={"currentModeId": mode, "availableModes": []})
    if mode in ("plan", "yolo"):  # it asks about its plan; the operator started it so
        assert talk.methods[-1] == "session/prompt"
        return
    assert talk.sent[-1]["params"] == {"sessionId": "s1", "modeId": "default"}
    talk.answer()
    assert talk.methods[-1] == "session/prompt"
    refused = Talk()
    refused.answer(sessionId="s1", modes={"currentModeId": mode, "availableModes": []})
    refused.refuse(-32603, "no such mode")
    assert refused.last().outcome is TurnOutcome.FAILED and "session/prompt" not in refused.methods


def asked_of(talk: Talk) -> Asked:
    asked = talk.of(Asked)[-1]
    assert isinstance(asked, Asked)
    return asked


def test_only_a_person_approves_a_plan_and_what_no_rule_covers() -> None:
    talk = Talk().begin()
    talk.hear(acp_asks(7, "c1", kind="switch_mode", title="Ready?", rawInput={"plan": "1. do it\n2. end"}))
    assert asked_of(talk).person and asked_of(talk).request == "1. do it\n2. end"
    for kind in ("other", "new_kind", None):
        talk.hear(acp_asks(8, "c2", kind=kind, title="Deploy", rawInput={"to": "prod"}))
        assert asked_of(talk).person, kind
    talk.hear(acp_asks(9, "c3", kind="execute", title="ls", rawInput={"command": "ls"}))
    assert not asked_of(talk).person


def test_where_every_yes_is_one_for_always_it_is_a_no_and_the_agent_hears_why() -> None:
    talk = Talk().begin()
    always = [option for option in ACP_OPTIONS if option["kind"] != "allow_once"]
    talk.hear(acp_asks(7, "c1", options=always, kind="execute", title="rm", rawInput={"command": "rm"}))
    assert not talk.of(Asked) and talk.sent[-1]["result"]["outcome"]["optionId"] == "no-once"
    talk.answer(stopReason="end_turn")
    assert "a yes for this one call" in talk.sent[-1]["params"]["prompt"][0]["text"]


def test_several_ways_to_say_yes_are_a_persons_choice() -> None:
    which = [{"kind": "allow_once", "optionId": each, "name": each.title()} for each in ("prod", "staging")]
    for answer, outcome in (
        ("Staging", {"outcome": "selected", "optionId": "staging"}),
        ("neither", {"outcome": "cancelled"}),
    ):
        talk = Talk().begin()
        talk.hear(acp_asks(7, "c1", options=which, kind="execute", title="Where?", rawInput={"command": "deploy"}))
        assert [option.label for option in asked_of(talk).questions[0].options] == ["Prod", "Staging"]
        talk.decide(Answered(answer))
        assert talk.sent[-1]["result"]["outcome"] == outcome
    talk.answer(stopReason="end_turn")
    assert "neither" in talk.sent[-1]["params"]["prompt"][0]["text"]


def test_what_begins_with_a_slash_reaches_the_model_as_words() -> None:
    talk = Talk(Brief("c", "/src is the place", "/w", ("agent",))).begin()
    talk.take(AGENT.say(talk.state, "/compact"))
    talk.answer(stopReason="end_turn")
    prompts = [each["params"]["prompt"][0]["text"] for each in talk.sent if each.get("method") == "session/prompt"]
    assert prompts == ["The task:\n/src is the place", "The task:\n/compact"]


def test_read_only_work_is_refused_everything_but_reading_without_a_person() -> None:
    talk = Talk(Brief("c", "why?", "/w", ("agent",), read_only=True)).begin()
    talk.hear(acp_asks(7, "c1", kind="other", title="?", rawInput={"x": 1}))
    assert not talk.of(Asked) and talk.sent[-1]["result"]["outcome"]["optionId"] == "no-once"
    talk.hear(acp_asks(8, "c2", kind="read", rawInput={"path": "/w/a"}))
    assert len(talk.of(Asked)) == 1


def test_words_during_a_turn_go_to_an_agent_that_queues_and_wait_for_one_that_does_not() -> None:
    talk = Talk().begin()
    talk.take(AGENT.say(talk.state, "more"))
    assert talk.methods.count("session/prompt") == 1
    talk.answer(stopReason="end_turn")
    assert talk.methods.count("session/prompt") == 2 and not talk.of(TurnEnded)
    talk.answer(stopReason="end_turn")
    assert talk.last().completed
    queueing = Talk(_meta={"claudeCode": {"promptQueueing": True}}).begin()
    queueing.take(AGENT.say(queueing.state, "more"))
    assert queueing.methods.count("session/prompt") == 2
    queueing.hear({"id": 3, "result": {"stopReason": "end_turn"}})
    assert not queueing.of(TurnEnded)
    queueing.answer(stopReason="end_turn")
    assert queueing.last().completed


def test_an_interrupt_cancels_questions_and_nothing_afterwards_is_no_work() -> None:
    talk = Talk().begin()
    talk.hear(acp_asks(7, "c1", kind="execute", rawInput={"command": "ls"}))
    talk.take(AGENT.interrupt(talk.state))
    assert talk.sent[-2]["result"]["outcome"] == {"outcome": "cancelled"}
    assert talk.sent[-1]["method"] == "session/cancel"
    talk.answer(stopReason="cancelled")
    assert (talk.last().outcome, talk.last().error) == (TurnOutcome.FAILED, "interrupted")
    talk.take(AGENT.say(talk.state, "go on"))
    talk.answer(stopReason="end_turn")
    assert not talk.last().completed, "an empty turn after a cancel is not judged"
    talk.take(AGENT.say(talk.state, "go on"))
    talk.hear(say("done"))
    talk.answer(stopReason="end_turn")
    assert talk.last().completed
    early = Talk()
    early.take(AGENT.interrupt(early.state))
    assert early.last().error == "interrupted"


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("Internal error: API Error: 529 Overloaded", TurnOutcome.OVERLOADED),
        ("Internal error: You've hit your session limit", TurnOutcome.LIMITED),
        ("anything else", TurnOutcome.FAILED),
    ],
)
def test_an_error_of_a_prompt_ends_the_turn_with_its_words(message: str, outcome: TurnOutcome) -> None:
    talk = Talk().begin()
    talk.refuse(-32603, message)
    assert talk.last().outcome is outcome and message in talk.last().error


def test_what_the_agent_wants_of_us_is_refused_and_an_unknown_update_is_kept() -> None:
    talk = Talk().begin()
    talk.hear({"id": 9, "method": "fs/read_text_file", "params": {"path": "/etc/passwd"}})
    assert talk.sent[-1]["error"]["code"] == -32601
    talk.hear(acp_update("hologram"), {"id": 99, "result": {}}, {"nonsense": 1})
    assert len(talk.of(Unknown)) == 4
    talk.take(AGENT.ended(talk.state, Exited(1)))
    assert talk.last().outcome is TurnOutcome.FAILED and talk.last().exit == Exited(1)
    assert AGENT.ended(talk.state, Exited(1)).happened == ()


def test_a_stop_for_another_reason_is_no_completion() -> None:
    for reason in ("max_tokens", "refusal", "max_turn_requests"):
        talk = Talk().begin()
        talk.hear(say("half"))
        talk.answer(stopReason=reason)
        assert talk.last().outcome is TurnOutcome.FAILED and reason in talk.last().error
