"""``[repos.NAME] files`` and ``[machines.NAME] ports``: what may be written, and which ports a task has."""

from __future__ import annotations

import pytest

from fleet.config import MachineConfig, parse_fleet
from fleet.config.problems import ConfigProblems
from fleet.flight.surroundings import port_of

REPO = '[repos.shop]\nurl = "/srv/shop.git"\n'


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ('{ "../x" = "1" }', "is not a path inside the tree"),
        ('{ ".git/config" = "1" }', "is not a path inside the tree"),
        ('{ "/etc/x" = "1" }', "is not a path inside the tree"),
        ('{ "x" = {} }', "needs `text` or `secret`, not both"),
        ('{ "x" = { text = "1", secret = "X" } }', "needs `text` or `secret`, not both"),
        ('{ "a/.env.test" = "A=1", "b" = { secret = "B" } }', ""),
    ],
)
def test_files_are_inside_the_tree_and_have_one_content(files: str, words: str) -> None:
    text = f"{REPO}files = {files}\n"
    if words:
        with pytest.raises(ConfigProblems, match=words):
            parse_fleet(text.encode(), "fleet.toml")
        return
    found = parse_fleet(text.encode(), "fleet.toml").repos["shop"].files
    assert {path: file.text or file.secret for path, file in found.items()} == {"a/.env.test": "A=1", "b": "B"}


@pytest.mark.parametrize("ports", ["1000-1020", "3000-3005", "4000-3000", "60000-70000"])
def test_a_range_of_ports_holds_ten_that_anybody_may_use(ports: str) -> None:
    with pytest.raises(ConfigProblems, match="is not a range of ports"):
        parse_fleet(f'[machines.a]\nexecutor = "local"\nports = "{ports}"\n'.encode(), "fleet.toml")


def test_eight_tasks_have_eight_ranges() -> None:
    machine = MachineConfig(executor="local", ports="3000-3079")
    firsts = [int(port_of(f"t{number}", machine)["AIRBOSS_PORT"]) for number in range(5, 13)]
    assert sorted(firsts) == list(range(3000, 3080, 10))
    assert port_of("t8", machine) == {"AIRBOSS_PORT": "3000", "AIRBOSS_PORTS": "3000-3009"}
