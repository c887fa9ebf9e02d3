"""Which agent a task gets that follows another one, after ``fleet.toml`` was edited."""

from __future__ import annotations

import pytest

from bot.commands.choose import agent_again
from fleet.config import FleetConfig, parse_fleet
from fleet.errors import Misconfigured, Misused


def fleet(*agents: str, usual: str = "") -> FleetConfig:
    named = "".join(f'[agents.{agent}]\ndriver = "command"\nprogram = ["true"]\n' for agent in agents)
    repo = f'[repos.shop]\nurl = "/shop.git"\n{f"agent = {usual!r}" if usual else ""}\n'
    return parse_fleet(
        f'isolation = "unsafe-same-user"\n[machines.here]\nexecutor = "local"\n{named}{repo}', "fleet.toml"
    )


def test_it_is_the_same_the_repositorys_or_the_only_one() -> None:
    assert agent_again(fleet("a", "b", usual="b"), "a", "shop") == "a"
    assert agent_again(fleet("a", "b", usual="b"), "gone", "shop") == "b"
    assert agent_again(fleet("a"), "gone", "shop") == "a"


def test_where_none_is_left_it_says_which_is_missing() -> None:
    with pytest.raises(Misused, match="no agent called 'gone'"):
        agent_again(fleet("a", "b"), "gone", "shop")
    with pytest.raises(Misconfigured, match="no longer names repository"):
        agent_again(fleet("a", "b"), "gone", "elsewhere")
