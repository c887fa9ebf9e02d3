"""``[setup.NAME]`` in both files: what is accepted, and what a person reads when it is wrong."""

from __future__ import annotations

import pytest

from fleet.config import ConfigProblems, merge_setups, parse_fleet, parse_repo_file
from fleet.errors import Misused

FLEET = '[repos.shop]\nurl = "/srv/git/shop.git"\n'
SETUP = '[setup.python]\nrun = ["uv", "sync"]\ninputs = ["uv.lock"]\nprovides = [".venv/"]\n'


def test_a_setup_runs_one_command_or_several() -> None:
    parsed = parse_repo_file(SETUP, "airboss.toml").setup["python"]
    assert (parsed.run, parsed.provides, parsed.network) == ([["uv", "sync"]], [".venv"], False)
    several = SETUP.replace('["uv", "sync"]', '[["python3", "-m", "venv", ".venv"], ["make", "wheels"]]')
    assert parse_repo_file(several, "airboss.toml").setup["python"].run[1] == ["make", "wheels"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('["uv", "sync"]', '"uv sync"', "argv, not a shell line"),
        ('["uv", "sync"]', "[]", "is empty"),
        ('["uv", "sync"]', '[["-x"]]', "starts with an option"),
        ('["uv", "sync"]', '["uv", ["sync"]]', "must be a list"),
        ('".venv/"', '"../up"', "not a path inside the tree"),
        ('".venv/"', '"/opt/venv"', "not a path inside the tree"),
        ('".venv/"', '".git/hooks"', "not a path inside the tree"),
        ('".venv/"', '"."', "not a path inside the tree"),
        ('".venv/"', '"Vendor", "vendor/js"', "'vendor/js', which is inside 'Vendor'"),
        ('["uv.lock"]', "[]", "at least 1"),
    ],
)
def test_a_wrong_setup(old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigProblems) as caught:
        parse_repo_file(SETUP.replace(old, new), "airboss.toml")
    assert any(words in str(problem) for problem in caught.value.problems), caught.value.problems


def test_the_operator_adds_setups_and_replaces_none() -> None:
    repo_file = parse_repo_file(SETUP, "airboss.toml")
    fleet = parse_fleet(
        FLEET + SETUP.replace("setup.python", "repos.shop.setup.node").replace(".venv/", "node_modules"),
        "fleet.toml",
    )
    assert sorted(merge_setups(repo_file, fleet.repos["shop"], repo="shop")) == ["node", "python"]
    for name, path, words in (("python", "a", "both define python"), ("node", ".venv", "two setups provide .venv")):
        text = FLEET + SETUP.replace("setup.python", f"repos.shop.setup.{name}").replace(".venv/", path)
        with pytest.raises(Misused, match=words):
            merge_setups(repo_file, parse_fleet(text, "fleet.toml").repos["shop"], repo="shop")
