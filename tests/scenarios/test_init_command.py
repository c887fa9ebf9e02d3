"""``airboss init`` in real repositories: what it writes, tries, refuses, and leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.cli import main
from tests.far_end.repositories import git, make_work
from tests.schema import load, problems

UNITTEST = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        assert {}\n"


def test_init_writes_tries_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reads = "'fine' in open('../vendor/lib/lib.txt').read()"
    work = make_work(tmp_path / "work", {"api/setup.py": "", "api/test_a.py": UNITTEST.format(reads)})
    lib = make_work(tmp_path / "lib", {"lib.txt": "fine"})
    allowed = {"GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}
    git(work, "submodule", "--quiet", "add", str(lib), "vendor/lib", env=allowed)
    lib.rename(tmp_path / "gone")  # so that the trial can only have what is checked out
    (work / "Makefile").write_text("test:\n\t@echo make: no rule; exit 2\n")
    asked = ["--home", str(tmp_path / "none"), "init", str(work / "api")]
    assert main([*asked, "--dry-run"]) == 0
    assert "[gates.api]" in capsys.readouterr().out
    assert git(work, "status", "--porcelain", "--", "airboss.toml") == ""
    git(work, "add", "Makefile")
    git(work, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "make")
    assert main([*asked, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert problems(said, load("init.json")) == []
    assert {gate["name"]: gate["state"] for gate in said["tried"]["gates"]} == {"api": "passed", "make": "failed"}
    assert (work / "airboss.toml").read_text() == said["file"]
    assert any(words.startswith("gate make: ") for words in said["missing"])
    assert git(work, "status", "--porcelain") == "?? airboss.toml", "nothing is committed, nothing else is touched"
    git(work, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    main(["--home", str(tmp_path / "none"), "init", str(tmp_path / "linked" / "api"), "--json"])
    tried = json.loads(capsys.readouterr().out)["tried"]["gates"]
    assert {gate["name"]: gate["state"] for gate in tried} == {"api": "passed", "make": "failed"}
    (work / "airboss.toml").write_text("# mine")
    assert main(asked) == 2
    assert "the file is there" in capsys.readouterr().err
    assert (work / "airboss.toml").read_text() == "# mine"


def test_init_where_it_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "none"), "init"]
    (tmp_path / "plain").mkdir()
    assert main([*home, str(tmp_path / "plain")]) == 2
    assert "not a git repository" in capsys.readouterr().err
    assert main([*home, str(tmp_path / "nowhere")]) == 2
    work = make_work(tmp_path / "work", {"README.md": "x"})
    assert main([*home, str(work)]) == 1
    assert "Nothing was recognised" in capsys.readouterr().out
    assert not (work / "airboss.toml").exists()
    git(tmp_path / "plain", "init", "--quiet")
    (tmp_path / "plain" / "Makefile").write_text("test:\n\ttrue\n")
    assert main([*home, str(tmp_path / "plain"), "--force"]) == 0
    assert "nothing is committed yet" in capsys.readouterr().out


def test_what_cannot_be_tried_is_written_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modules = f'[submodule "lib"]\n\tpath = vendor/lib\n\turl = {tmp_path / "gone"}\n'
    work = make_work(tmp_path / "work", {"test_a.py": UNITTEST.format("True"), ".gitmodules": modules})
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},vendor/lib")
    git(work, "commit", "--quiet", "-m", "a submodule")
    asked = ["--home", str(tmp_path / "none"), "init", str(work), "--force"]
    assert main([*asked, "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert problems(said, load("init.json")) == []
    assert (said["written"], said["tried"], said["status"]) == (True, None, 3)
    assert "nothing was tried: could not fetch a submodule" in said["missing"][-1]
    assert main(asked) == 3
    assert capsys.readouterr().out.count("[gates.") == 1, "the file is shown once"
