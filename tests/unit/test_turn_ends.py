"""When a Claude Code turn is over: a result for our own words, and no background work open. And what is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.agent_events import Allow, Asked, AskPerson, TurnEnded, TurnOutcome
from fleet.agents.claude import ClaudeDriver
from fleet.agents.lines import left_open
from fleet.exits import Exited
from fleet.ports import Brief, DriverState, Step
from gates.rulings.permissions import PermissionRules, rule
from tests.unit import agent_lines as lines

DRIVER = ClaudeDriver()


def brief(prompt: str = "see to it") -> Brief:
    return Brief("c1", prompt, "/w", ("claude",), "", "", read_only=False, ask=())


class Told:
    """A driver that has sent its prompt, and what it made of the lines since."""

    def __init__(self, prompt: str = "see to it") -> None:
        self.state: DriverState = DRIVER.open(brief(prompt)).state
        self.ends: list[TurnEnded] = []
        self.asked: list[Asked] = []
        self.sent = b""
        self.hears(lines.CONFIRMED)

    def hears(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.take(DRIVER.feed(self.state, lines.line(message)))

    def take(self, step: Step) -> None:
        self.state = step.state
        self.sent += step.send
        self.ends += [item for item in step.happened if isinstance(item, TurnEnded)]
        self.asked += [item for item in step.happened if isinstance(item, Asked)]


def task(subtype: str, **more: Any) -> dict[str, Any]:
    return {"type": "system", "subtype": subtype, "task_id": "b1", **more}


STARTED = task("task_started", description="npm run dev", task_type="local_bash")
UPDATED = task("task_updated", patch={"status": "completed"})
NOTIFIED = task("task_notification", status="completed")
NOTHING = {**lines.result(""), "num_turns": 0}


def test_a_result_of_no_turn_at_a_resume_does_not_end_ours() -> None:
    """Seen: two notifications, an init and a result with 0 turns, before our words are taken up."""
    told = Told()
    told.hears(NOTIFIED, NOTIFIED, lines.INIT, NOTHING)
    assert told.ends == []
    told.hears(lines.INIT, lines.heard("see to it"), lines.result("done"))
    assert [end.claim for end in told.ends] == ["done"]


def test_a_result_of_no_turn_without_a_notification_does_not_end_ours_either() -> None:
    told = Told()
    told.hears(lines.INIT, NOTHING)
    assert told.ends == []
    told.hears(lines.INIT, lines.result("done"))
    assert [end.claim for end in told.ends] == ["done"]


def test_a_turn_of_the_agents_own_does_not_end_one_of_ours() -> None:
    told = Told()
    told.hears(lines.INIT, lines.heard("see to it"), lines.result("done"))
    told.take(DRIVER.say(told.state, "more"))
    told.hears(NOTIFIED, lines.INIT, {**lines.result("noted"), "num_turns": 1})
    assert len(told.ends) == 1
    told.hears(lines.INIT, lines.heard("more"), lines.result("more done"))
    assert [end.claim for end in told.ends] == ["done", "more done"]


@pytest.mark.parametrize(
    "over", [[UPDATED, NOTIFIED], [NOTIFIED], [task("task_updated", patch={"status": "killed"})]]
)
def test_background_work_that_is_open_keeps_the_turn_open(over: list[dict[str, Any]]) -> None:
    told = Told()
    told.hears(lines.INIT, lines.heard("see to it"), STARTED, lines.result("started"))
    assert told.ends == []
    assert left_open(told.state) == ("npm run dev",)
    told.hears(*over, lines.INIT, lines.result("now it is done"))
    assert [(end.claim, end.outcome) for end in told.ends] == [("now it is done", TurnOutcome.COMPLETED)]
    assert left_open(told.state) == ()


def test_an_agent_that_ends_with_its_background_work_has_completed_its_turn() -> None:
    told = Told()
    told.hears(lines.INIT, lines.heard("see to it"), STARTED, lines.result("started"))
    told.take(DRIVER.ended(told.state, Exited(0)))
    assert [(end.claim, end.outcome) for end in told.ends] == [("started", TurnOutcome.COMPLETED)]


def test_asked_to_end_its_background_work_the_agent_has_an_open_turn_again() -> None:
    told = Told()
    told.hears(lines.INIT, lines.heard("see to it"), STARTED, lines.result("started"))
    told.take(DRIVER.say(told.state, "stop it"))
    assert left_open(told.state) == ()
    told.take(DRIVER.ended(told.state, Exited(1)))
    assert [end.outcome for end in told.ends] == [TurnOutcome.FAILED]


def test_a_failed_turn_ends_whatever_is_open() -> None:
    told = Told()
    told.hears(lines.INIT, lines.heard("see to it"), STARTED, lines.result("529 Overloaded", is_error=True))
    assert [end.outcome for end in told.ends] == [TurnOutcome.OVERLOADED]


@pytest.mark.parametrize("words", ["/src is wrong", "  /clear", "/compact\nnow"])
def test_what_begins_with_a_slash_reaches_the_model_as_words(words: str) -> None:
    told = Told(words)
    assert b'"content":"/' not in told.sent.replace(b" ", b"")
    assert json.dumps(words)[1:-1].encode() in told.sent
    told.sent = b""
    told.take(DRIVER.say(told.state, words))
    assert b'"content":"/' not in told.sent.replace(b" ", b"")


@pytest.mark.parametrize("form", [lines.hook, lines.can_use])
def test_a_plan_is_approved_by_a_person_whatever_the_rules_say(form: Any) -> None:
    told = Told()
    told.hears(form("r1", "call1", "ExitPlanMode", plan="1. write\n2. done"))
    (asked,) = told.asked
    assert asked.request == "1. write\n2. done"
    assert isinstance(rule(asked, "/w", PermissionRules()), AskPerson)


def test_what_no_rule_knows_and_the_agent_asks_about_is_asked() -> None:
    told = Told()
    told.hears(lines.can_use("r1", "call1", "SelfDestruct", now=True), lines.can_use("r2", "call2", "WebSearch"))
    assert [type(rule(asked, "/w", PermissionRules())) for asked in told.asked] == [AskPerson, Allow]


def test_the_hook_asks_about_plans_in_every_permission_mode() -> None:
    assert b"ExitPlanMode" in DRIVER.open(brief()).send
