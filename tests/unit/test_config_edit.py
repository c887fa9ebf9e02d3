"""Edits of ``fleet.toml``, and the operator's say over a repository's gates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleet.config import (
    ConfigProblems,
    GateTightening,
    RepoConfig,
    edit_fleet,
    load_fleet,
    merge_gates,
    parse_repo_file,
)
from fleet.errors import Misused
from tests.unit.test_config import GOOD, KEY, ROOT

COMMENTED = "# my fleet\n" + GOOD.replace('labels = ["linux", "gpu"]', 'labels = ["linux"]   # the big one')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "fleet.toml"
    found.write_text(COMMENTED)
    found.chmod(0o640)
    return found


def test_an_added_machine_leaves_comments_and_order(path: Path) -> None:
    with edit_fleet(path, login="boss") as fleet:
        fleet.add_machine("nas", executor="ssh", host="nas", user="agents", gate_as="gates", host_key=KEY)
    now = iter(path.read_text().splitlines())
    assert all(line in now for line in COMMENTED.splitlines() if line)
    assert load_fleet(path, login="boss").machines["nas"].host == "nas"
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(file.name for file in path.parent.iterdir()) == [".fleet.toml.lock", "fleet.toml"]


def test_a_first_machine_in_no_file_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "fleet.toml"
    with edit_fleet(path, login="boss") as fleet:
        fleet.add_machine("here", executor="local", run_as="agents", gate_as="gates")
        fleet.add_person("Ann", "admin", ["telegram::1"])
    assert load_fleet(path, login="boss").people[0].ids == ["telegram::1"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_machine_that_lacks_its_host_key_gets_it_pinned(path: Path) -> None:
    path.write_text(GOOD.replace(f'host_key = "{KEY}"\n', "# key to come\n"))
    with edit_fleet(path, login="boss") as fleet:
        fleet.add_machine("macbook", executor="ssh", host="macbook.local", user="agents", host_key=KEY)
    assert load_fleet(path, login="boss").machines["macbook"].host_key == KEY


def test_a_machine_that_is_there_is_never_overwritten(path: Path) -> None:
    other = KEY.replace("IJ1m", "IJ2m")
    with (
        pytest.raises(Misused, match="already exists, with another host_key"),
        edit_fleet(path, login="boss") as fleet,
    ):
        fleet.add_machine("macbook", executor="ssh", host="macbook.local", user="agents", host_key=other)
    assert path.read_text() == COMMENTED


def test_a_person_gets_a_further_id_and_keeps_the_role(path: Path) -> None:
    with edit_fleet(path, login="boss") as fleet:
        fleet.add_person("Ann", "admin", ["slack:T1:U2", "slack:T9:U9"])
    assert load_fleet(path, login="boss").people[0].ids == ["telegram::12345", "slack:T1:U2", "slack:T9:U9"]
    with pytest.raises(Misused, match="has the role admin"), edit_fleet(path, login="boss") as fleet:
        fleet.add_person("Ann", "viewer", ["slack:T8:U8"])


def test_what_would_not_load_is_not_written(path: Path) -> None:
    with pytest.raises(ConfigProblems, match="host_key"), edit_fleet(path, login="boss") as fleet:
        fleet.add_machine("nas", executor="ssh", host="nas", user="agents")
    assert path.read_text() == COMMENTED


def test_a_broken_file_is_told_like_everywhere_else(path: Path) -> None:
    path.write_text("[machines\n")
    with pytest.raises(ConfigProblems, match=r"fleet\.toml:1: is not TOML"), edit_fleet(path):
        pass


def test_edits_at_the_same_time_lose_nothing(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fleet.config import edit_fleet\n"
        "for n in range(4):\n"
        "    with edit_fleet(Path(sys.argv[1]), login='boss') as fleet:\n"
        "        fleet.add_person(f'P{sys.argv[2]}-{n}', 'viewer', [f'slack:X{sys.argv[2]}:U{n}'])\n"
    )
    editors = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(number)], cwd=ROOT) for number in range(4)
    ]
    assert [editor.wait(60) for editor in editors] == [0] * 4
    assert len(load_fleet(path, login="boss").people) == 1 + 16


REPO = parse_repo_file(
    '[gates.tests]\nrun = ["pytest"]\ntimeout = "10m"\nneeds = ["linux"]\nprotected = ["tests/**"]\n',
    "airboss.toml",
)


def operator(**wish: object) -> RepoConfig:
    return RepoConfig(url="/x", gates={"tests": GateTightening.model_validate(wish)})


def test_the_operator_tightens_and_adds() -> None:
    wish = operator(timeout="5m", needs=["gpu"], protected=["tests/**", "setup.cfg"], rework_turns=0)
    gate = merge_gates(REPO, wish)["tests"]
    assert gate.timeout == "5m"
    assert gate.needs == ["linux", "gpu"]
    assert gate.protected == ["tests/**", "setup.cfg"]
    assert gate.rework_turns == 0
    assert gate.run == ["pytest"]
    own = RepoConfig(url="/x", gates={"lint": GateTightening(run=["ruff"])})
    assert {name: gate.run for name, gate in merge_gates(REPO, own).items()} == {
        "tests": ["pytest"],
        "lint": ["ruff"],
    }


def test_a_matrix_is_one_gate_for_each_combination() -> None:
    text = '[gates.tests]\nmatrix = { python = ["3.11", "3.12"], needs = ["linux", "macos"] }\nneeds = ["fast"]\n'
    text += 'run = ["python{python}", "-m", "pytest", "--junitxml={junit}"]\nenv = { TOX_ENV = "py{python}" }\n'
    wish = RepoConfig(url="/x", gates={"tests": GateTightening(timeout="5m")})
    made = merge_gates(parse_repo_file(text, "airboss.toml"), wish)
    assert sorted(made) == ["tests-3.11-linux", "tests-3.11-macos", "tests-3.12-linux", "tests-3.12-macos"]
    one = made["tests-3.12-macos"]
    assert one.run == ["python3.12", "-m", "pytest", "--junitxml={junit}"] and one.needs == ["fast", "macos"]
    assert one.env == {"TOX_ENV": "py3.12"} and {gate.timeout for gate in made.values()} == {"5m"}
    twice = parse_repo_file(text + '[gates."tests-3.11-linux"]\nrun = ["true"]\n', "airboss.toml")
    with pytest.raises(Misused, match=r"makes a second gate tests-3\.11-linux"):
        merge_gates(twice, RepoConfig(url="/x"))
    every = ", ".join(f'"{number}"' for number in range(25))
    with pytest.raises(Misused, match="more than 24 gates"):
        parse_repo_file(f'[gates.a]\nmatrix = {{ n = [{every}] }}\nrun = ["true"]\n', "airboss.toml")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"matrix": {"python": ["3.11"]}}, "different `matrix`"),
        ({"timeout": "11m"}, "longer `timeout`"),
        ({"run": ["true"]}, "different `run`"),
        ({"env": {"PYTEST_ADDOPTS": "--co"}}, "different `env`"),
        ({"rework_turns": 4}, "more `rework_turns`"),
        ({"protected": []}, "empty `protected`"),
        ({"needs": []}, "empty `needs`"),
    ],
)
def test_the_operator_never_loosens(wish: dict[str, object], words: str) -> None:
    with pytest.raises(Misused, match=words) as caught:
        merge_gates(REPO, operator(**wish), repo="shop")
    assert "fleet.toml [repos.shop.gates.tests]" in str(caught.value)
    assert "airboss.toml [gates.tests]" in str(caught.value)


def test_a_tightening_of_no_gate_is_told() -> None:
    wish = RepoConfig(url="/x", gates={"test": GateTightening(timeout="1m")})
    with pytest.raises(Misused, match="defines no such gate"):
        merge_gates(REPO, wish)
