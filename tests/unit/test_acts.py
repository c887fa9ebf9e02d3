"""Rules name kinds of acts; each driver maps its tools to them, and a word that means nothing is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.doctor.controller import check_controller
from fleet.agent_events import Act, Asked
from fleet.agents.acts import ASKED, TOOLS, act_of, ask_rules, meaning
from fleet.agents.claude import ClaudeDriver
from fleet.agents.codex_asks import read_question
from fleet.agents.lines import Fold, decode
from fleet.config import parse_fleet
from fleet.ports import Brief


@pytest.mark.parametrize("driver", ["claude", "codex"])
@pytest.mark.parametrize("word", ["shell", "Bash", "exec_command"])
def test_a_rule_about_commands_is_the_same_for_both_however_it_is_written(driver: str, word: str) -> None:
    shell = {"claude": "Bash", "codex": "exec_command"}[driver]
    rules = ask_rules(driver, [word])
    assert rules.cover(act_of(driver, shell), shell)
    assert not any(rules.cover(act, tool) for tool, act in TOOLS[driver].items() if act is Act.EDIT)


def test_a_single_tool_of_the_agents_own_stays_a_single_tool() -> None:
    rules = ask_rules("claude", ["Write", "mcp__files__delete"])
    assert rules.cover(Act.EDIT, "Write") and not rules.cover(Act.EDIT, "Edit")
    assert rules.cover(Act.MCP, "mcp__files__delete") and not rules.cover(Act.MCP, "mcp__files__list")
    assert ask_rules("codex", ["mcp__files__delete"]).cover(Act.MCP, "mcp_elicitation")


@pytest.mark.parametrize("word", ["bash", "", "Shell", "mcp__", "apply_patch"])
def test_a_word_that_no_configured_driver_knows_means_nothing(word: str) -> None:
    assert meaning(word, ["claude", "command"]) is None


def matcher(*ask: str) -> re.Pattern[str]:
    step = ClaudeDriver().open(Brief("u", "do it", "/w", ("claude",), ask=ask))
    (hook,) = decode(step.send.splitlines()[0])["request"]["hooks"]["PreToolUse"]
    return re.compile(str(hook["matcher"]))


def test_claude_is_hooked_for_what_the_rules_name() -> None:
    for tool in ("Bash", "Edit", "Write", "mcp__files__delete"):
        assert matcher().fullmatch(tool), tool
    assert not matcher().fullmatch("Read") and matcher("read").fullmatch("Read")
    assert not matcher("read").fullmatch("WebFetch") and matcher("network").fullmatch("WebFetch")
    assert matcher("Glob").fullmatch("Glob") and not matcher("Glob").fullmatch("Grep")
    # Its own question has a form of its own and is never hooked.
    assert not matcher(*Act).fullmatch("AskUserQuestion")


@pytest.mark.parametrize(
    ("method", "params", "act"),
    [
        ("item/commandExecution/requestApproval", {"command": "ls"}, Act.SHELL),
        (
            "item/commandExecution/requestApproval",
            {"networkApprovalContext": {"host": "example.org", "protocol": "https"}},
            Act.NETWORK,
        ),
        ("item/fileChange/requestApproval", {"itemId": "i1"}, Act.EDIT),
        ("mcpServer/elicitation/request", {"serverName": "files"}, Act.MCP),
        ("item/permissions/requestApproval", {"permissions": {}}, Act.OTHER),
    ],
)
def test_what_codex_asks_about_has_its_kind(method: str, params: dict[str, object], act: Act) -> None:
    fold = Fold({"asks": {}, "changes": {}})
    assert read_question(fold, method, params, {"id": 0, "method": method, "params": params})
    (asked,) = fold.step().happened
    assert isinstance(asked, Asked) and asked.act is act
    assert act in ASKED["codex"]


def test_doctor_names_a_rule_that_never_asks(tmp_path: Path) -> None:
    config = parse_fleet(
        """
        isolation = "unsafe-same-user"
        [agents.a]
        driver = "claude"
        program = ["claude"]
        ask = ["read", "shell"]
        [agents.b]
        driver = "codex"
        program = ["codex"]
        ask = ["read", "shell", "WebFetch", "Bash"]
        [agents.c]
        driver = "command"
        program = ["c"]
        ask = ["shell"]
        """,
        "fleet.toml",
        login="boss",
    )
    found = [finding.what for finding in check_controller(config, tmp_path) if "never asks" in finding.what]
    assert found == [
        "the agent b never asks about read: codex has no such question",
        "the agent c never asks about shell: command has no such question",
    ]
