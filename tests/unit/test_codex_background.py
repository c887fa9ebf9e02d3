"""When a Codex turn is over: complete, and none of its commands and subagents at work any more."""

from __future__ import annotations

from typing import Any

from fleet.agent_events import TurnEnded, TurnOutcome
from fleet.agents.codex import CodexDriver
from fleet.agents.lines import left_open
from fleet.exits import Exited
from fleet.ports import Brief, Step
from tests.unit import agent_lines as lines

DRIVER = CodexDriver()
BEGUN = (lines.answered(1), lines.answered(2, thread={"id": "t1"}), lines.answered(3, turn={"id": "u1"}))
STARTED = lines.command_item("started", "c1", "npm run dev", "inProgress", None)
ENDED = lines.command_item("completed", "c1", "npm run dev", "completed", 0)


class Told:
    """A driver that has sent its prompt, and what it made of the lines since."""

    def __init__(self, *messages: lines.Message) -> None:
        self.sent = b""
        self.ends: list[TurnEnded] = []
        self.take(DRIVER.open(Brief("c1", "do it", "/w", ("codex",))))
        self.hears(*BEGUN, *messages)

    def hears(self, *messages: lines.Message) -> None:
        for message in messages:
            self.take(DRIVER.feed(self.state, lines.line(message)))

    def take(self, step: Step) -> None:
        self.state = step.state
        self.sent += step.send
        self.ends += [item for item in step.happened if isinstance(item, TurnEnded)]


def said(words: str) -> lines.Message:
    return lines.item("completed", type="agentMessage", id="m1", text=words)


def subagents(event: str, **states: str) -> lines.Message:
    known: dict[str, Any] = {thread: {"status": status, "message": None} for thread, status in states.items()}
    fields = {"type": "collabAgentToolCall", "id": "s1", "tool": "spawnAgent", "prompt": "look at it"}
    return lines.item(event, **fields, status="completed", agentsStates=known)


def begun(thread: str) -> lines.Message:
    return lines.notice("turn/started", thread, turn={"id": "u2", "status": "inProgress"})


def test_a_command_that_outlives_its_call_keeps_the_turn_open() -> None:
    told = Told(STARTED, said("it runs"), lines.turn_over())
    assert told.ends == []
    assert left_open(told.state) == ("npm run dev",)
    told.hears(ENDED, ENDED)
    assert [(end.claim, end.outcome) for end in told.ends] == [("it runs", TurnOutcome.COMPLETED)]
    assert left_open(told.state) == ()


def test_what_is_still_open_is_told_as_it_changes() -> None:
    second = lines.command_item("started", "c2", "make watch", "inProgress", None)
    told = Told(STARTED, second, lines.turn_over(), ENDED)
    assert left_open(told.state) == ("make watch",)


def test_calls_of_one_id_in_two_threads_are_two() -> None:
    inner = lines.command_item("started", "c1", "make", "inProgress", None, thread="t2")
    told = Told(STARTED, inner, lines.turn_over(), ENDED)
    assert left_open(told.state) == ("make",)


def test_a_subagent_keeps_the_turn_open_from_its_making_to_the_end_of_its_turn() -> None:
    told = Told(subagents("completed", t2="pendingInit"), said("given out"), lines.turn_over())
    assert left_open(told.state) == ("subagent: look at it",)
    told.hears(begun("t2"))
    assert told.ends == []
    told.hears(lines.turn_over(thread="t2"))
    assert [end.claim for end in told.ends] == ["given out"]


def test_a_subagent_that_was_quicker_than_the_news_of_it_is_over() -> None:
    told = Told(begun("t2"), lines.turn_over(thread="t2"), subagents("completed", t2="running"), lines.turn_over())
    assert len(told.ends) == 1


def test_a_subagent_whose_turn_began_before_the_news_of_it_is_named_by_its_work() -> None:
    told = Told(begun("t2"), subagents("completed", t2="running"), lines.turn_over())
    assert left_open(told.state) == ("subagent: look at it",)


def test_a_subagent_that_was_closed_is_over() -> None:
    told = Told(begun("t2"), subagents("completed", t2="shutdown"), lines.turn_over())
    assert len(told.ends) == 1


def test_a_turn_that_did_not_complete_ends_whatever_is_open() -> None:
    told = Told(STARTED, lines.turn_over("interrupted"))
    assert [end.outcome for end in told.ends] == [TurnOutcome.FAILED]


def test_a_command_that_nobody_allowed_before_an_interrupt_keeps_no_later_turn_open() -> None:
    told = Told(STARTED, lines.turn_over("interrupted"))
    told.take(DRIVER.say(told.state, "go on"))
    told.hears(lines.answered(4, turn={"id": "u3"}), said("done"), lines.turn_over())
    assert [end.claim for end in told.ends] == ["", "done"]
    inner = lines.command_item("started", "c1", "make", "inProgress", None, thread="t2")
    told = Told(begun("t2"), inner, lines.turn_over("interrupted", thread="t2"), lines.turn_over())
    assert len(told.ends) == 1


def test_asked_to_end_it_the_agent_has_an_open_turn_again() -> None:
    told = Told(STARTED, said("it runs"), lines.turn_over())
    told.take(DRIVER.say(told.state, "stop it"))
    assert left_open(told.state) == ()
    assert b"stop it" in told.sent
    told.take(DRIVER.ended(told.state, Exited(1)))
    assert [end.outcome for end in told.ends] == [TurnOutcome.FAILED]


def test_an_agent_that_ends_with_its_background_work_has_completed_its_turn() -> None:
    told = Told(STARTED, said("it runs"), lines.turn_over())
    told.take(DRIVER.ended(told.state, Exited(0)))
    assert [(end.claim, end.outcome) for end in told.ends] == [("it runs", TurnOutcome.COMPLETED)]


def test_a_turn_that_the_agent_starts_by_itself_goes_on_with_ours() -> None:
    told = Told(STARTED, said("it runs"), lines.turn_over(), begun("t1"), ENDED)
    assert told.ends == [], "the command is over, and the turn goes on"
    told.hears(said("all done"), lines.turn_over())
    assert [end.claim for end in told.ends] == ["all done"]
