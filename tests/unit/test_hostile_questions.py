"""What an agent asks in a way that no honest one does: an id twice, taken back, unreadable, hundreds at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fleet.agent_events import Allow, Asked, AskPerson, Happening, TakenBack, ToolEnded, Unknown
from fleet.agents.registry import driver
from fleet.events import PermissionDecided, ToolCallEnded
from fleet.flight import commits
from fleet.flight.commits import MOST_ASKS, Ruled
from fleet.flight.follower import Follower
from fleet.model import Session, Task
from fleet.ports import Brief, DriverState, Step
from fleet.store import approvals, kept_answers, ledger
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from tests.far_end.machine import Machine
from tests.far_end.repositories import make_bare
from tests.flying import PERSON, World, world
from tests.unit import agent_lines as say

BRIEF = Brief("6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001", "do it", "/w", ("agent",))
START: dict[str, list[say.Message]] = {
    "claude": [say.CONFIRMED, say.INIT],
    "codex": [say.answered(1), say.answered(2, thread={"id": "t1"}), say.answered(3, turn={"id": "u1"})],
    "acp": [say.acp_answer(1, agentCapabilities={}), say.acp_answer(2, sessionId="s1")],
}


def asks(name: str, command: str, *, call: str = "c1") -> say.Message:
    """A question whose id is 7, in any case."""
    match name:
        case "claude":
            return say.can_use("7", call, "Bash", command=command)
        case "codex":
            return say.question(7, "commandExecution", call, command=command)
        case _:
            return say.acp_asks(7, call, kind="execute", title=command, rawInput={"command": command})


def fed(name: str, messages: Sequence[say.Message]) -> Step:
    """All of it as one step; what was before ``messages`` is not in it."""
    agent = driver(name)
    state: DriverState = agent.open(BRIEF).state
    for message in START[name]:
        state = agent.feed(state, say.line(message)).state
    happened: list[Happening] = []
    send = b""
    for message in messages:
        step = agent.feed(state, say.line(message))
        state, send = json.loads(json.dumps(step.state)), send + step.send
        happened += step.happened
    return Step(state, tuple(happened), send)


@pytest.mark.parametrize("name", START)
def test_what_is_said_to_one_question_never_answers_another_with_its_id(name: str) -> None:
    step = fed(name, [asks(name, "ls"), asks(name, "rm -rf /", call="c2")])
    first, gone, second = [item for item in step.happened if isinstance(item, Asked | TakenBack)]
    assert isinstance(first, Asked) and isinstance(second, Asked)
    assert gone == TakenBack(first.ask) and second.ask != first.ask
    agent = driver(name)
    assert not agent.decide(step.state, first.ask, Allow()).send
    assert agent.decide(step.state, second.ask, Allow()).send


@pytest.mark.parametrize("name", START)
def test_a_question_that_is_sent_again_is_asked_once(name: str) -> None:
    step = fed(name, [asks(name, "ls"), asks(name, "ls")])
    asked = [item for item in step.happened if isinstance(item, Asked | TakenBack)]
    assert len(asked) == 1 and len(step.state["asks"]) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude", {"type": "control_cancel_request", "request_id": "7"}),
        ("codex", say.notice("serverRequest/resolved", requestId=7)),
    ],
)
def test_a_question_can_be_taken_back(name: str, words: say.Message) -> None:
    step = fed(name, [asks(name, "ls"), words, asks(name, "ls")])
    first, gone, second = [item for item in step.happened if isinstance(item, Asked | TakenBack)]
    assert isinstance(first, Asked) and isinstance(second, Asked)
    assert gone == TakenBack(first.ask) and second.ask != first.ask


def _request(**body: Any) -> say.Message:
    return {"type": "control_request", "request_id": "7", "request": body}


@pytest.mark.parametrize(
    ("name", "unreadable"),
    [
        ("claude", _request(subtype="can_use_tool", tool_name="Bash", input={"command": "ls"})),
        ("claude", _request(subtype="can_use_tool", tool_name="Bash", input=None, tool_use_id="c1")),
        ("claude", _request(subtype="can_use_tool", tool_name=None, input={}, tool_use_id="c1")),
        ("claude", _request(subtype="hook_callback", input={"tool_name": "Bash", "tool_input": {}})),
        ("claude", say.can_use("7", "c1", "AskUserQuestion", questions=[{"options": []}])),
        ("codex", {"id": 7, "method": "item/commandExecution/requestApproval"}),
        ("codex", say.question(7, "fileChange", "c1") | {"params": {"threadId": "t1"}}),
        ("codex", {"id": 7, "method": "item/tool/requestUserInput", "params": {"questions": [{"id": "q"}]}}),
        ("acp", {"jsonrpc": "2.0", "id": 7, "method": "session/request_permission"}),
        ("acp", say.acp_asks(7, "c1") | {"params": {"toolCall": {"toolCallId": "c1"}, "options": None}}),
    ],
)
def test_what_cannot_be_read_is_denied_so_that_the_agent_does_not_wait(name: str, unreadable: say.Message) -> None:
    step = fed(name, [unreadable])
    assert [type(item) for item in step.happened] == [Unknown]
    assert not step.state["asks"]
    (answer,) = [json.loads(line) for line in step.send.splitlines()]
    said = json.dumps(answer)
    assert answer.get("id", answer.get("response", {}).get("request_id")) in (7, "7")
    assert '"error"' in said or '"deny"' in said
    assert name != "claude" or '"deny"' in said, "an error would let a hook's call happen"


@pytest.mark.parametrize("code", [10**30, -(10**30), 2**53])
def test_an_exit_status_of_any_size_is_recorded(code: int) -> None:
    started = say.acp_update("tool_call", toolCallId="c1", kind="execute", title="ls", rawInput={"command": "ls"})
    ended = say.acp_update("tool_call_update", toolCallId="c1", status="failed", rawOutput={"exitCode": code})
    steps = [
        fed("acp", [started, ended]),
        fed("codex", [say.command_item("completed", "c1", "ls", "failed", code)]),
    ]
    for step in steps:
        (over,) = [item for item in step.happened if isinstance(item, ToolEnded)]
        assert over.exit_code in (-(2**31), 2**32 - 1)


def test_no_text_of_an_agent_holds_what_a_store_cannot_keep() -> None:
    lines = [say.assistant(say.tool_use("c\0", "Ba\0sh", command="l\0s")), say.can_use("7\0", "c", "B", x="\0")]
    assert "\0" not in repr(fed("claude", lines)).replace("\\x00", "\0")


# --- in the store --------------------------------------------------------------------------------------------


class _Mute(Machine):
    """Its agent says what a test has it say."""

    def _hear(self, message: dict[str, Any]) -> None:
        self.heard.append(message)


@pytest.fixture
def there(tmp_path: Path) -> World:
    made = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    made.machine = _Mute()
    return made


async def _played(there: World, *messages: say.Message) -> tuple[Task, Session]:
    """A follower has read these, and the agent works on."""
    task = await there.running()
    there.machine.say(say.CONFIRMED, say.INIT, *messages)
    follower = Follower(there.services, there.machine, task, await there.session(task), None)
    await follower.catch_up()
    await follower.close()
    return task, await there.session(task)


async def test_nobody_is_asked_what_the_agent_took_back_or_ended_its_turn_with(there: World) -> None:
    with there.store:
        cancel = {"type": "control_cancel_request", "request_id": "7"}
        task, session = await _played(there, asks("claude", "ls"), cancel)
        assert not await there.store.read(lambda tx: approvals.waiting(tx, task.id))
        decided = await there.store.read(lambda tx: ledger.read(tx, kinds=(PermissionDecided.KIND,)))
        assert [recorded.event.body()["decision"] for recorded in decided] == ["withdrawn"]

        def both(tx: Tx) -> list[approvals.Approval]:
            turn = commits.open_turn(tx, session.id)
            step = fed("claude", [asks("claude", "pwd"), say.result("done")])
            (asked,) = [item for item in step.happened if isinstance(item, Asked)]
            ruled = [Ruled(asked, AskPerson("a test asks"))]
            commits.take_step(tx, session, turn, step, ruled=ruled, approval_hours=1)
            return approvals.waiting(tx, task.id)

        assert not await there.store.write(both)


async def test_a_yes_that_was_not_received_is_void_once_the_question_is_taken_back(there: World) -> None:
    with there.store:
        task, session = await _played(there, asks("claude", "ls"))
        (waiting,) = await there.store.read(lambda tx: approvals.waiting(tx, task.id))

        def decided(tx: Tx) -> tuple[list[approvals.Answer], ApprovalDecision]:
            approvals.decide(tx, waiting.id, True, PERSON, "")
            kept_answers.take_back(tx, session.id, waiting.ask, "a test")
            return approvals.take_decided(tx, session.id), approvals.approval(tx, waiting.id).decision

        assert await there.store.write(decided) == ([], ApprovalDecision.WITHDRAWN)


async def test_of_hundreds_of_questions_only_the_first_wait_for_a_person(there: World) -> None:
    with there.store:
        many = [say.can_use(f"r{n}", f"c{n}", "Bash", command=f"ls {n}") for n in range(3 * MOST_ASKS)]
        task, _ = await _played(there, *many)
        waiting = await there.store.read(lambda tx: approvals.waiting(tx, task.id))
        assert [asked.ask for asked in waiting] == [f"r{n}" for n in range(MOST_ASKS)]
        decided = await there.store.read(lambda tx: ledger.read(tx, kinds=(PermissionDecided.KIND,)))
        assert {recorded.event.body()["decision"] for recorded in decided} == {"deny"}
        assert len(decided) == 2 * MOST_ASKS


async def test_an_end_of_a_tool_with_any_exit_status_is_in_the_ledger(there: World) -> None:
    with there.store:
        task, session = await _played(there)
        step = fed("codex", [say.command_item("completed", "c1", "ls", "failed", 10**30)])
        await there.store.write(lambda tx: commits.take_step(tx, session, None, step, approval_hours=1))
        ended = await there.store.read(lambda tx: ledger.read(tx, kinds=(ToolCallEnded.KIND,), task=task.id))
        assert [recorded.event.body()["exit_code"] for recorded in ended] == [2**32 - 1]
