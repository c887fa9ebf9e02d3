"""A start of the runner imports little, and what it has in the place of larger modules does the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet.machines.runner import light_json
from fleet.machines.runner.alone import status_words
from fleet.machines.runner.files import remove
from fleet.machines.runner.walls import unescaped

ISOLATED = [sys.executable, "-I", "-S", "-E", "-c"]
PACKAGE = Path(__file__).parents[2] / "fleet/machines/runner"
#: Makes the runner's package importable, as its image does.
RUNNER = f"""
import sys
package = type(sys)("runner")
package.__path__ = [{str(PACKAGE)!r}]
sys.modules["runner"] = package
"""
HEAVY = {"collections", "contextlib", "enum", "functools", "json", "re", "shutil", "signal", "subprocess"}


@pytest.mark.parametrize("module", ["serve", "supervise"])
def test_a_start_imports_nothing_heavy(module: str) -> None:
    program = f"{RUNNER}\nimport runner.{module}\nprint(*sys.modules)"
    loaded = subprocess.run([*ISOLATED, program], capture_output=True, text=True, check=True).stdout.split()
    assert f"runner.{module}" in loaded
    assert HEAVY & set(loaded) == set()


VALUES: list[Any] = [
    {},
    {"a": 1, "b": [1.5, None, True, False, -0.0, 10**40, {"c": []}]},
    {2: 2, None: 3, True: 4},
    'é\u2028\ud800\U0001f600"\\\n\0\x7f',
    [float("inf"), float("-inf")],
    0,
]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_written_and_read_is_as_by_the_library(value: Any) -> None:
    text = light_json.dumps(value)
    assert text == json.dumps(value)
    assert repr(light_json.loads(f" \t{text}\r\n".encode())) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text", ["", " ", "{", "[1,]", "{} x", "nul", "'a'", '"\n"', '{"a" 1}', "1 2", b"\xff", b"\xef\xbb\xbf{}", "-"]
)
def test_what_the_library_refuses_is_refused(text: str | bytes) -> None:
    for read in (light_json.loads, json.loads):
        if text != b"\xef\xbb\xbf{}" or read is light_json.loads:  # the library takes a byte order mark
            with pytest.raises(ValueError):
                read(text)


def test_what_is_not_json_is_not_written() -> None:
    with pytest.raises(TypeError, match="bytes is not JSON"):
        light_json.dumps({"a": b""})


def test_a_python_without_these_parts_uses_the_library() -> None:
    program = f"""{RUNNER}
sys.modules["_json"] = None
from runner import light_json
import json
assert light_json.loads is json.loads and light_json.dumps is json.dumps
"""
    subprocess.run([*ISOLATED, program], check=True)


@pytest.mark.parametrize("reach", ["", "sys.path.clear()"])
def test_what_is_not_json_is_refused_although_the_library_is_not_loaded(reach: str) -> None:
    """Inside a run's walls it may be out of reach, too."""
    program = f"""{RUNNER}
from runner.files import parse
{reach}
assert parse(b'{{"a": 1}}') == {{"a": 1}}
for half in (b"{{half", b"[1", b'"a', b'"\\u12"', b"nul", b"-", b'{{"a" 1}}', b'{{"a":', b"1 2"):
    assert parse(half) == {{}}, half
"""
    subprocess.run([*ISOLATED, program], check=True)


def test_a_tree_is_removed_and_what_its_links_name_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "kept").write_text("1")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").write_text("1")
    (tree / "a" / "to a directory").symlink_to(outside)
    (tree / "to a file").symlink_to(outside / "kept")
    (tree / "to nothing").symlink_to("nowhere")
    (tree / "a" / "b").chmod(0)
    assert remove(str(tree)) == {"ok": True} and not tree.exists()
    link = tmp_path / "link"
    link.symlink_to(outside)
    assert remove(str(link)) == {"ok": True} and not link.is_symlink()
    assert remove(str(tmp_path / "missing")) == {"ok": True}
    assert sorted(path.name for path in outside.iterdir()) == ["deep", "kept"]


def test_what_the_kernel_says_is_read() -> None:
    assert unescaped("/a\\040b\\134c\\011") == "/a b\\c\t"
    text = b"Name:\tUid: 5\nState:\tS (sleeping)\nUid:\t1\t2\t3\t4\n"
    assert status_words(text, b"Uid") == [b"1", b"2", b"3", b"4"]
    assert status_words(text, b"State")[0] == b"S"
    assert status_words(text, b"Gid") == []
