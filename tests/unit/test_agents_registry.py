"""Drivers by name, and whose model an agent thinks with."""

from __future__ import annotations

import pytest

from fleet.agents.families import family
from fleet.agents.registry import driver
from fleet.errors import Misused


@pytest.mark.parametrize("name", ["claude", "codex", "acp", "command"])
def test_a_driver_is_found_by_its_name(name: str) -> None:
    assert driver(name).name == name


def test_an_unknown_driver_says_which_there_are() -> None:
    with pytest.raises(Misused, match="acp, claude, codex, command") as caught:
        driver("aider")
    assert caught.value.on == "aider"


@pytest.mark.parametrize(
    ("name", "model", "vendor"),
    [
        ("claude", "", "anthropic"),
        ("claude", "opus", "anthropic"),
        ("codex", "", "openai"),
        ("codex", "gpt-5.1-codex", "openai"),
        ("claude", "deepseek-v3", "deepseek"),
        ("codex", "anthropic/claude-sonnet-5", "anthropic"),
        ("command", "qwen3-coder", "qwen"),
        ("command", "", ""),
        ("command", "meta/CodeLlama-13b.gguf", "meta"),
        ("command", "deepseek-r1-distill-qwen-7b", ""),
        ("command", "house-model", ""),
    ],
)
def test_the_family_follows_the_model_before_the_driver(name: str, model: str, vendor: str) -> None:
    assert family(name, model) == vendor


def test_a_strange_model_behind_a_known_driver_is_not_called_its_vendors() -> None:
    assert family("codex", "house-model") == ""
