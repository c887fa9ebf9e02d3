"""``airboss demo`` as a user runs it; and that its own checks can say no."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bot.demo import fly, world

#: The agent's first attempt, and its second one, with the layer that saw it.
FAILED = ("gate tests failed: exit status 1", "gate tests failed: tampering: layer 4 (baseline): exit status 0")


def test_the_demo_flies_from_chat_to_receipt_with_the_macbook_over_ssh() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bot.cli", "demo"], capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    ends = ("✅ the day's receipt", "✅ forty lines", "Continue by hand")
    for said in (*FAILED, "landed on main", "verified: ", *ends):
        assert said in ran.stdout, ran.stdout[-3000:]
    assert "README.md is locked by anna" in ran.stdout and "⊘ edit README.md" in ran.stdout
    assert '"tool_calls": 8, "ok": 7, "failed": 0, "denied": 1,' in ran.stdout, "the agent's calls are counted"
    assert ran.stdout.count("unsafe-same-user") > 5
    assert "❌" not in ran.stdout and "Traceback" not in ran.stdout + ran.stderr


def test_without_pytest_the_demo_says_so_at_once() -> None:
    run = "import sys; sys.modules['pytest'] = None; from bot.cli import main; sys.exit(main(['demo']))"
    ran = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False)
    assert ran.returncode == 3 and "pipx inject airboss pytest" in ran.stderr and not ran.stdout


def test_a_demo_in_which_nothing_happened_is_not_called_one(tmp_path: Path) -> None:
    with world.make(tmp_path, "demo") as made:
        assert not any(fly.results(made, ended=0).values())


def test_a_session_that_did_not_go_over_ssh_is_noticed(tmp_path: Path) -> None:
    with world.make(tmp_path, "demo") as made:
        assert made.channels_opened() == 0
        made.channels.write_text('{"channel": 1}\n')
        assert made.channels_opened() == 1


def test_an_agent_that_is_none_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="demo, claude, codex"), world.make(tmp_path, "gemini"):
        pass
