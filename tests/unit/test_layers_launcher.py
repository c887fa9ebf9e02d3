"""The launcher: the base's tests come back before the run with canaries, and nothing outside the tree changes."""

from __future__ import annotations

import base64
from pathlib import Path

from gates.layers.kit.launcher import Phases, restore, split, stamps


def test_the_tree_gets_the_tests_of_the_base(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "tests").mkdir(parents=True)
    (tree / "tests" / "test_new.py").write_text("new")
    (tree / "tests" / "test_old.py").write_text("changed")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    (tree / "link").symlink_to(tmp_path / "outside")
    was = base64.b64encode(b"was").decode()
    restore(
        {
            "tree": str(tree),
            "remove": ["tests/test_new.py", "tests/gone.py", "link/kept", "../outside/kept"],
            "restore": {"tests/test_old.py": was, "other/test_deleted.py": was, "link/kept": was},
        }
    )
    assert not (tree / "tests" / "test_new.py").exists()
    assert (tree / "tests" / "test_old.py").read_text() == "was"
    assert (tree / "other" / "test_deleted.py").read_text() == "was"
    assert (tmp_path / "outside" / "kept").read_text() == "kept"


def test_a_file_that_is_rewritten_and_put_back_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "test_a.py"
    file.write_text("assert True")
    before = stamps(str(tmp_path))
    file.write_text("assert True")
    assert stamps(str(tmp_path)) != before


def test_lines_that_no_plugin_writes_say_nothing() -> None:
    token = "abc"
    lines = [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"k": "hello", "pid": 1}',
        b'{"k": "test", "id": "t::a", "outcome": "passed", "ms": 1}',
        b'{"k": "test", "id": "test_abc.py::x", "outcome": "failed", "ms": 1}',
    ]
    seen = split({"lines": lines, "status": 0}, token)
    assert (seen["hello"], seen["end"], list(seen["tests"]), list(seen["canaries"])) == (
        True,
        None,
        ["t::a"],
        ["test_abc.py::x"],
    )


def test_tests_that_failed_on_the_base_are_inverted_first(tmp_path: Path) -> None:
    for name in ("plugin.py", "canaries.py"):
        (tmp_path / name).write_text("")
    phases = Phases({"plugin": str(tmp_path / "plugin.py"), "canaries": str(tmp_path / "canaries.py")})
    slow = {f"t::{number}": ("passed", 60_000.0) for number in range(500)}
    chosen = phases.inverted({**slow, "t::red": ("failed", 1.0)})
    assert chosen[0] == "t::red"
    assert 1 < len(chosen) < 60
    assert len(phases.inverted(slow)) >= 1
    quick = {f"t::{number}": ("passed", 0.1) for number in range(50)}
    assert sorted(phases.inverted(quick)) == sorted(quick)
    assert phases.inverted({}) == []
