"""What is read of ``go test -json``: results, an order to be believed in, and whatever the tested code prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gates.layers.kit.go_results import GoResults, checking, overlay, package_of

TOKEN = "abc123"


def event(action: str, test: str = "", package: str = "p", **more: Any) -> bytes:
    said = {"Action": action, "Package": package, **({"Test": test} if test else {}), **more}
    return json.dumps(said).encode() + b"\n"


def seen(*lines: bytes, status: int = 0) -> dict[str, Any]:
    results = GoResults(shown=False, verbose=False)
    results.feed(b"".join(lines))
    return results.seen(status, TOKEN)


def test_results_by_package_and_test() -> None:
    found = seen(
        event("start"), event("run", "TestA"), event("pass", "TestA", Elapsed=0.5), event("skip", "TestB"),
        event("run", "TestC/x"), event("fail", "TestC/x", Elapsed=0), event("run", f"Test_{TOKEN}Fail"),
        event("fail", f"Test_{TOKEN}Fail"), event("fail"),
    )  # fmt: skip
    assert found["tests"] == {
        "p TestA": ("passed", 500.0), "p TestB": ("skipped", 0.0), "p TestC/x": ("failed", 0.0),
    }  # fmt: skip
    assert list(found["canaries"].values()) == [("failed", 0.0)]
    assert (found["hello"], found["end"]) == (True, 1)


def test_what_did_not_end_is_an_error_and_no_end() -> None:
    found = seen(event("start"), event("run", "TestA"), event("start", package="q"), event("pass", package="q"))
    assert found["tests"] == {"p TestA": ("error", 0.0)} and found["end"] is None


def test_a_failure_stays_one_whatever_is_printed_later() -> None:
    found = seen(event("start"), event("fail", "TestA"), event("pass", "TestA"), event("pass"))
    assert found["tests"] == {"p TestA": ("failed", 0.0)}


@pytest.mark.parametrize(
    "line",
    [
        b"{", b"{}", b"[]", b'{"Action": 1}', b'{"Action": "pass", "Test": {"a": 1}, "Elapsed": "x"}',
        b'{"Action": "output", "Output": 7}', b"\xff\xfe", b"{" * 100_000, b'{"Action":"pass","Package":["p"]}',
        b'{"Action":"run","Test":"T","Elapsed":1e999}', b"x" * (3 << 20),
    ],
)  # fmt: skip
def test_nothing_that_is_printed_stops_the_reader(line: bytes) -> None:
    found = seen(event("start"), line + b"\n", event("pass", "TestA"), event("pass"))
    assert found["tests"]["p TestA"] == ("passed", 0.0) and found["end"] == 0


def test_a_line_in_pieces_and_one_without_an_end() -> None:
    results = GoResults(shown=False, verbose=False)
    for byte in event("start") + event("pass", "TestA") + event("pass")[:-1]:
        results.feed(bytes([byte]))
    assert results.seen(0, TOKEN)["end"] == 0


def test_only_output_of_what_failed_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    results = GoResults(shown=True, verbose=False)
    for line in (
        event("output", "TestA", Output="quiet\n"), event("pass", "TestA"),
        event("output", "TestB", Output="=== RUN   TestB\n"), event("output", "TestB", Output="got 1\n"),
        event("fail", "TestB"), event("output", Output="FAIL\n"), event("output", Output="FAIL\tp\t0.1s\n"),
        b"# build trouble\n",
    ):  # fmt: skip
        results.feed(line)
    assert capfd.readouterr().out == "got 1\nFAIL\tp\t0.1s\n# build trouble\n"


def test_memory_is_bounded_however_much_is_printed() -> None:
    results = GoResults(shown=False, verbose=False)
    for number in range(200):
        results.feed(event("output", f"Test{number}", Output="x" * (1 << 20)))
    assert sum(map(len, results.held.values())) <= 65 << 20


def test_canaries_are_files_of_the_overlay_only(tmp_path: Path) -> None:
    tree, kit = tmp_path / "tree", tmp_path / "kit"
    for place, text in (("a", "package a_test\n"), ("b", "// package no\npackage b\n"), ("c", "no Go\n")):
        (tree / place).mkdir(parents=True)
        (tree / place / "x_test.go").write_text(text)
    kit.mkdir()
    plan = {"directories": ["a", "b", "c", "gone"], "canaries": "package PACKAGE // CANARY"}
    listed = json.loads(Path(overlay(plan, str(tree), str(kit), TOKEN, [])[0]).read_text())
    assert sorted(listed["Replace"]) == [f"{tree}/{name}/airboss_{TOKEN}_test.go" for name in ("a", "b")]
    texts = [Path(file).read_text() for file in listed["Replace"].values()]
    assert sorted(texts) == [f"package a // {TOKEN}", f"package b // {TOKEN}"]
    assert sorted(path.name for path in tree.rglob("*") if path.is_file()) == ["x_test.go"] * 3
    assert package_of(str(tree / "c")) == ""


TESTS = """package a

import tst "testing"

func TestOne(t *tst.T) {
\tt.Parallel()
}

func TestTwo(t *tst.T) {
}

func TestThree(_ *tst.T) {
}
"""


def test_a_test_is_inverted_in_the_line_where_it_begins(tmp_path: Path) -> None:
    tree, kit = tmp_path / "tree", tmp_path / "kit"
    for place in ("", "sub"):
        (tree / place / "a").mkdir(parents=True)
        (tree / place / "a" / "x_test.go").write_text(TESTS)
    (tree / "go.mod").write_text("module example.com/top\n")
    (tree / "sub" / "go.mod").write_text('module "example.com/other"\n')
    kit.mkdir()
    plan = {
        "directories": ["a", "sub/a"],
        "canaries": "package PACKAGE // CANARY",
        "check_argv": ["go", "test", "-overlay={overlay}", "-run={only}"],
    }
    chosen = [
        "example.com/top/a TestOne",
        "example.com/other/a TestTwo",
        "example.com/top/a TestThree",
        "x TestTwo",
    ]
    argv, inverted = checking(plan, str(tree), str(kit), TOKEN, chosen)
    assert inverted == ["example.com/other/a TestTwo", "example.com/top/a TestOne"]
    assert argv[-1] == f"-run=^(Test_{TOKEN}.*|TestOne|TestTwo)$"
    listed = json.loads(Path(argv[2].partition("=")[2]).read_text())["Replace"]
    text = Path(listed[f"{tree}/a/x_test.go"]).read_text()
    assert "func TestOne(t *tst.T) { defer t.Fail();\n\tt.Parallel()" in text
    assert text.count("\n") == TESTS.count("\n") and "TestTwo(t *tst.T) {\n" in text
    assert "TestTwo(t *tst.T) { defer t.Fail();" in Path(listed[f"{tree}/sub/a/x_test.go"]).read_text()
    assert (tree / "a" / "x_test.go").read_text() == TESTS
