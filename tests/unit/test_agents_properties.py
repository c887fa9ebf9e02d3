"""What holds for every driver whatever an agent writes: no line raises, and the state is plain JSON throughout."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.agent_events import Allow, Asked, Decision, Deny, Happening, Unknown
from fleet.agents.registry import driver
from fleet.exits import Exited
from fleet.ports import AgentDriver, Brief, DriverState, Step
from tests.unit import agent_lines as say

BRIEF = Brief("6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001", "do it", "/w", ("agent",))

LINES: list[say.Message] = [
    say.CONFIRMED,
    say.INIT,
    say.heard("do it"),
    say.heard("more"),
    say.assistant(say.text("words"), say.tool_use("c1", "Bash", command="ls")),
    say.assistant(say.tool_use("c2", "Write", file_path="/w/a"), parent="c9"),
    say.hook("r1", "c1", "Bash", command="ls"),
    say.can_use("r2", "c1", "Bash", command="ls"),
    {"type": "control_cancel_request", "request_id": "r1"},
    {"type": "control_request", "request_id": "r5", "request": {"subtype": "dialog"}},
    say.tool_result("c1", "Exit code 3\nno", is_error=True),
    say.tool_result("c2", [{"type": "text", "text": "fine"}, {"type": "image"}]),
    say.result(cost=0.1, tokens=(5, 5)),
    say.result(cost=0.3, tokens=(9, 9), is_error=True),
    say.answered(1),
    say.answered(2, thread={"id": "t1"}, model="m"),
    say.answered(3, turn={"id": "u1"}),
    say.answered(4, turnId="u1"),
    say.refused(4, "no active turn to steer"),
    say.notice("turn/started", turn={"id": "u1"}),
    say.command_item("started", "c1", "ls", "inProgress", None),
    say.command_item("completed", "c1", "ls", "failed", 3),
    say.item("started", type="fileChange", id="c2", changes=[{"path": "/w/a", "kind": {"type": "add"}}]),
    say.item("completed", type="fileChange", id="c2", changes=[], status="declined"),
    say.item("completed", type="agentMessage", id="m1", text="words"),
    say.item("started", type="userMessage", id="m2", clientId="airboss-4", content=[]),
    say.question(0, "commandExecution", "c1", command="ls"),
    say.question(1, "fileChange", "c2"),
    say.question(2, "permissions", "c3", permissions={}),
    {"id": 7, "method": "item/tool/call", "params": {}},
    say.tokens((10, 5), (10, 5)),
    say.notice("serverRequest/resolved", requestId=0),
    say.turn_over(),
    say.turn_over("failed", words="no credit"),
    say.acp_answer(1, agentCapabilities={"loadSession": True, "_meta": {"claudeCode": {"promptQueueing": True}}}),
    say.acp_answer(2, sessionId="s1", models={"currentModelId": "m"}),
    say.acp_answer(3, stopReason="end_turn", usage={"inputTokens": 5, "outputTokens": 5}),
    say.acp_answer(4, stopReason="cancelled"),
    say.acp_update("agent_message_chunk", content={"type": "text", "text": "words"}),
    say.acp_update("tool_call", toolCallId="c1", kind="execute", title="ls", rawInput={"command": "ls"}),
    say.acp_update("tool_call_update", toolCallId="c1", status="failed", rawOutput={"exitCode": 3}),
    say.acp_update("usage_update", cost={"amount": 0.5, "currency": "USD"}),
    say.acp_asks(5, "c1", kind="edit", rawInput={"path": "/w/a"}, locations=[{"path": "/w/b"}]),
]

Action = Callable[[AgentDriver, DriverState], Step]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a message, to spoil one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, item in inner for place in places(item, (*path, name)))]


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A line with one value replaced by something else."""
    message = copy.deepcopy(draw(st.sampled_from(LINES)))
    path = draw(st.sampled_from(places(message)[1:]))
    inner: Any = message
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = draw(JSON)
    return say.line(message)


@st.composite
def anything(draw: st.DrawFn) -> Action:
    """One thing that can happen to a session."""
    kind = draw(st.sampled_from(["line", "line", "line", "spoiled", "raw", "say", "decide", "other"]))
    match kind:
        case "line":
            data = say.line(draw(st.sampled_from(LINES)))
            return lambda agent, state: agent.feed(state, data)
        case "spoiled":
            data = draw(spoiled())
            return lambda agent, state: agent.feed(state, data)
        case "raw":
            data = draw(
                st.binary(max_size=30) | st.sampled_from([b"[" * 100_000, b"{}", b"1e999", b'{"type":NaN}'])
            )
            return lambda agent, state: agent.feed(state, data)
        case "say":
            return lambda agent, state: agent.say(state, "more")
        case "decide":
            ask = draw(st.sampled_from(["r1", "r2", "s1/1", "u1/0", "u1/1", "u1/2", "never"]))
            decisions: list[Decision] = [Allow(), Deny("no"), Deny("")]
            decision = draw(st.sampled_from(decisions))
            return lambda agent, state: agent.decide(state, ask, decision)
    others: list[Action] = [
        lambda agent, state: agent.oversized(state, 9_000_000),
        lambda agent, state: agent.interrupt(state),
        lambda agent, state: agent.finish(state),
        lambda agent, state: agent.ended(state, Exited(0)),
    ]
    return draw(st.sampled_from(others))


ACTIONS = st.lists(anything(), max_size=25)


def fits_the_ledger(happening: Happening) -> bool:
    """Whether every text can be written as UTF-8 and every number as canonical JSON."""
    for name in happening.__dataclass_fields__:
        value = getattr(happening, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, str):
                each.encode()
            if isinstance(each, int) and not -(2**53) <= each <= 2**53:
                return False
    return True


@pytest.mark.parametrize("name", ["claude", "codex", "acp", "command"])
@given(actions=ACTIONS)
@settings(deadline=None, max_examples=150)
def test_the_state_survives_json_between_any_two_lines_and_nothing_raises(name: str, actions: list[Action]) -> None:
    agent = driver(name)
    state = agent.open(BRIEF).state
    for action in actions:
        before = copy.deepcopy(state)
        step = action(agent, state)
        assert state == before, "the driver changed the state it was given"
        written = json.dumps(before, allow_nan=False)
        assert action(agent, json.loads(written)) == step
        assert all(fits_the_ledger(each) for each in step.happened)
        for sent in step.send.splitlines():
            assert name == "command" or isinstance(json.loads(sent), dict)
        state = json.loads(json.dumps(step.state, allow_nan=False))


@pytest.mark.parametrize("name", ["claude", "codex", "acp"])
@given(garbage=st.binary(max_size=60).filter(lambda data: b"\n" not in data))
@settings(deadline=None)
def test_garbage_between_lines_is_kept_and_changes_nothing(name: str, garbage: bytes) -> None:
    agent = driver(name)
    state = agent.open(BRIEF).state
    step = agent.feed(state, garbage)
    assert (step.state, step.send, step.eof) == (state, b"", False)
    (kept,) = step.happened
    assert isinstance(kept, Unknown) and kept.raw == garbage.decode("utf-8", "replace")


@pytest.mark.parametrize("name", ["claude", "codex", "acp", "command"])
def test_a_line_beyond_the_cap_is_told_with_its_size(name: str) -> None:
    agent = driver(name)
    state = agent.open(BRIEF).state
    step = agent.oversized(state, 123_456_789)
    assert step.state == state
    (kept,) = step.happened
    assert isinstance(kept, Unknown) and "123456789 bytes" in kept.raw


def test_a_lone_surrogate_in_a_question_can_be_stored() -> None:
    agent = driver("claude")
    raw = say.line(say.hook("r1", "c1", "Bash", command="echo X")).replace(b"X", b"\\ud800")
    (asked,) = agent.feed(agent.open(BRIEF).state, raw).happened
    assert isinstance(asked, Asked)
    assert asked.command == "echo ?"


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_a_number_that_cannot_be_written_again_is_not_understood(number: bytes) -> None:
    agent = driver("claude")
    raw = say.line(say.can_use("r1", "c1", "WebFetch", depth=7)).replace(b"7", number)
    (kept,) = agent.feed(agent.open(BRIEF).state, raw).happened
    assert isinstance(kept, Unknown)


def test_a_program_ends_its_turn_once() -> None:
    agent = driver("command")
    step = agent.ended(agent.open(BRIEF).state, Exited(0))
    assert len(step.happened) == 1
    assert agent.ended(step.state, Exited(0)).happened == ()
