"""What decides what a setup makes, and where it may make it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleet.config import SetupConfig
from fleet.errors import Refused
from fleet.git.trees import TreeEntry
from fleet.setup import scripts
from fleet.setup.definitions import check_place, define
from fleet.setup.process import script_of

CONFIG = {"run": ["make", "it's"], "inputs": ["*.lock", "/tools/**"], "provides": ["web/node_modules", ".venv"]}
SETUP = define("all", SetupConfig.model_validate(CONFIG))
TREE = {
    path: TreeEntry("100644", path) for path in ("uv.lock", "web/UV.LOCK", "tools/a", "web/tools/a", "src/x.py")
}


def test_inputs_decide_by_name_mode_and_bytes() -> None:
    assert SETUP.inputs_in(TREE) == ["tools/a", "uv.lock", "web/UV.LOCK"]
    known = SETUP.digest(TREE)
    assert SETUP.digest({**TREE, "src/x.py": TreeEntry("100644", "other")}) == known
    for path, entry in (
        ("uv.lock", TreeEntry("100755", "uv.lock")),
        ("uv.lock", TreeEntry("100644", "other")),
        ("tools/b", TreeEntry("100644", "uv.lock")),
    ):
        assert SETUP.digest({**TREE, path: entry}) != known
    assert SETUP.digest({path: entry for path, entry in TREE.items() if path != "tools/a"}) != known


@pytest.mark.parametrize("path", [".venv", ".VENV/x", "web", "web/node_modules", "Web/node_modules/a/b"])
def test_no_file_of_the_repository_may_be_in_its_place(path: str) -> None:
    with pytest.raises(Refused, match=f"but the repository tracks {path}"):
        check_place([SETUP], [*TREE, path], "here")


def test_files_beside_it_are_no_trouble() -> None:
    check_place([SETUP], [*TREE, ".venvs", "web/node_modules.txt", "lib/.venv/x", "webs"], "here")


@pytest.mark.parametrize(
    "more",
    [{"run": ["make"]}, {"inputs": ["*.lock"]}, {"provides": [".venv"]}, {"network": True}, {"env": {"A": "1"}}],
)
def test_another_definition_is_another_environment(more: dict[str, object]) -> None:
    assert define("all", SetupConfig.model_validate({**CONFIG, **more})).sha256 != SETUP.sha256


def test_words_reach_the_command_as_they_are() -> None:
    assert script_of(SETUP).splitlines()[-1] == "make 'it'\"'\"'s'"


def test_what_is_removed_before_a_setup_is_never_behind_a_link(tmp_path: Path) -> None:
    tree, away = tmp_path / "tree", tmp_path / "away"
    for place in (tree / ".venv", away / ".venv", away / "modules"):
        place.mkdir(parents=True)
    (tree / "web").symlink_to(away)
    linked = tmp_path / "linked"
    linked.symlink_to(away)
    for where, paths in ((tree, (".venv", "web/modules", "none/here")), (linked, (".venv",))):
        subprocess.run(["sh", "-c", scripts.REMOVE, "setup", str(where), *paths], check=True)
    assert not (tree / ".venv").exists()
    assert {place.name for place in away.iterdir()} == {".venv", "modules"}
