"""What the driver for any program promises, seen with real processes."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from fleet.agent_events import Said, ToolStarted, TurnOutcome
from fleet.exits import Signalled
from fleet.ports import Brief
from tests.contracts.agent_pump import AgentSession

CONVERSATION = "6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001"


def program(tmp_path: Path, prompt: str, code: str) -> AgentSession:
    workspace = tmp_path / "work"
    workspace.mkdir(exist_ok=True)
    brief = Brief(CONVERSATION, prompt, str(workspace), (sys.executable, "-c", code))
    return AgentSession("command", brief, {"PATH": os.environ["PATH"]})


@pytest.mark.parametrize(
    "prompt", ["--help", 'it\'s "quoted" $HOME `id`\nsecond line\n\nlast', "-", "ünïcødé 🛫\ttab", "x" * 200_000]
)
async def test_a_program_gets_its_prompt_intact(tmp_path: Path, prompt: str) -> None:
    code = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    async with program(tmp_path, prompt, code) as session:
        ended = await session.turn()
    assert ended.completed
    assert ended.claim == hashlib.sha256(f"{prompt}\n".encode()).hexdigest()
    assert prompt not in session.driver.launch(session.brief).argv


async def test_a_program_that_is_killed_failed(tmp_path: Path) -> None:
    async with program(tmp_path, "go", "import os; print('half', flush=True); os.kill(os.getpid(), 9)") as session:
        ended = await session.turn()
    assert (ended.outcome, ended.claim, ended.exit) == (TurnOutcome.FAILED, "half", Signalled("SIG9"))


async def test_a_programs_output_is_progress_and_its_status_is_its_word(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.buffer.write(b'one\\n\\xff\\xfe two\\nthree'); sys.exit(3)"
    async with program(tmp_path, "go", code) as session:
        ended = await session.turn()
    assert [said.text for said in session.of(Said)] == ["one", "\ufffd\ufffd two", "three"]
    assert (ended.outcome, ended.claim) == (TurnOutcome.FAILED, "three") and "exit status 3" in ended.error
    assert session.driver.launch(session.brief).one_turn


async def test_a_program_is_never_said_to_have_used_a_tool(tmp_path: Path) -> None:
    line = '{"type":"assistant","message":{"content":[{"type":"tool_use","id":"1","name":"Bash","input":{}}]}}'
    async with program(tmp_path, "go", f"print({line!r})") as session:
        await session.turn()
    assert session.of(ToolStarted) == []
