"""The launcher: the base's tests come back before the run with canaries, and nothing outside the tree changes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from gates.layers.course import kit
from gates.layers.kit.launcher import Phases, restore, split, stamps

LAUNCHER = kit("launcher.py")
KEY = "a" * 64


def test_the_tree_gets_the_tests_of_the_base(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "tests").mkdir(parents=True)
    (tree / "tests" / "test_new.py").write_text("new")
    (tree / "tests" / "test_old.py").write_text("changed")
    (tree / "was").write_text("a directory on the base")
    (tree / "tests" / "show.sh").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    (tree / "link").symlink_to(tmp_path / "outside")
    was = base64.b64encode(b"was").decode()
    restore(
        {
            "tree": str(tree),
            "remove": ["tests/test_new.py", "tests/gone.py", "link/kept", "../outside/kept"],
            "restore": {
                "tests/test_old.py": (was, False),
                "other/test_deleted.py": (was, False),
                "was/deep/test_a.py": (was, False),
                "tests/show.sh": (was, True),
                "link/kept": (was, False),
            },
        }
    )
    assert not (tree / "tests" / "test_new.py").exists()
    assert (tree / "tests" / "test_old.py").read_text() == "was"
    assert (tree / "other" / "test_deleted.py").read_text() == "was"
    assert (tree / "was" / "deep" / "test_a.py").read_text() == "was"
    assert (tree / "tests" / "show.sh").stat().st_mode & 0o777 == 0o755
    assert (tree / "tests" / "test_old.py").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "outside" / "kept").read_text() == "kept"


def test_a_file_that_is_rewritten_and_put_back_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "test_a.py"
    file.write_text("assert True")
    before = stamps(str(tmp_path), [])
    file.write_text("assert True")
    assert stamps(str(tmp_path), []) != before


def test_lines_that_no_plugin_writes_say_nothing() -> None:
    token = "abc"
    lines = [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"k": "test"}',
        b'{"k": "test", "id": 3}',
        b"[" * 100_000,
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


def test_tests_that_failed_on_the_base_are_inverted_first() -> None:
    phases = Phases({"runner": "pytest"})
    slow = {f"t::{number}": ("passed", 60_000.0) for number in range(500)}
    chosen = phases.inverted({**slow, "t::red": ("failed", 1.0)})
    assert chosen[0] == "t::red"
    assert 1 < len(chosen) < 60
    assert len(phases.inverted(slow)) >= 1
    quick = {f"t::{number}": ("passed", 0.1) for number in range(50)}
    assert sorted(phases.inverted(quick)) == sorted(quick)
    assert phases.inverted({}) == []


def launched(room: Path, *argv: str, plan: bytes | None = None, **more: object) -> subprocess.CompletedProcess[str]:
    """The launcher, run for a change whose gate is ``argv``. ``plan``: what its file holds instead."""
    (room / "tree").mkdir(exist_ok=True)
    ours = {
        "argv": argv, "tree": f"{room}/tree", "base": "", "path": "", "provided": [],
        "timeout": 30, "slower": 4, "report": f"{room}/report",
        "junit": f"{room}/junit", "alone": False, "runner": "pytest", "plugin": "", "watching": "", "equality": "",
        "hiding": "", "swallowing": "", "outside": "", "edited": [],
        "canaries": "", "baseline": {},
        "watched": False, "names": [], "check": False, "remove": [], "restore": {}, "every": False,
        **more,
    }  # fmt: skip
    text = json.dumps(ours).encode()
    (room / "plan.json").write_bytes(text if plan is None else plan)
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, f"{room}/plan.json", hashlib.sha256(text).hexdigest()]
    env = {"AIRBOSS_LAYERS_KEY": KEY, "HOME": str(room), "TMPDIR": str(room), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_command_never_finds_the_key_and_its_report_is_sealed(tmp_path: Path) -> None:
    look = "env; cat /proc/$PPID/environ; exit 3"  # whoever may not read it does not find it either
    ended = launched(tmp_path, "sh", "-c", look)
    assert ended.returncode == 3
    assert "TMPDIR" in ended.stdout and KEY not in ended.stdout + ended.stderr
    seal, _, body = (tmp_path / "report").read_bytes().partition(b"\n")
    assert seal.decode() == hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
    report: dict[str, Any] = json.loads(body)
    assert report["head"]["status"] == 3
    assert not (tmp_path / "plan.json").exists()


def test_a_plan_that_another_process_changed_is_not_followed(tmp_path: Path) -> None:
    ended = launched(tmp_path, "touch", "ran", plan=b'{"argv": ["true"]}')
    assert ended.returncode == 125
    assert "was changed by another process" in ended.stderr
    assert not (tmp_path / "report").exists() and not (tmp_path / "tree" / "ran").exists()


def test_the_bases_tests_run_alone_where_a_change_touches_tests(tmp_path: Path) -> None:
    more: Any = {"runner": "node", "reporters": "%d", "check": True, "every": True, "remove": ["new.js"]}
    ended = launched(
        tmp_path, "sh", "-c", "if [ -e made ]; then ! [ -e new.js ]; else : > made; : > new.js; fi", **more
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "report").read_bytes().partition(b"\n")[2])
    assert (report["head"]["status"], report["alone"]["status"]) == (0, 0)


def test_others_of_the_login_cannot_read_the_launcher() -> None:
    look = "import ctypes; print(take_key().decode(), getattr(ctypes.CDLL(None), 'prctl', lambda _: 0)(3))"
    asked = [sys.executable, "-c", LAUNCHER.replace("sys.exit(main())", look)]
    ended = subprocess.run(asked, env={"AIRBOSS_LAYERS_KEY": KEY}, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [KEY, "0"]


def test_a_base_that_takes_too_long_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    hang = (
        "import os, time; pipe = int(os.environ['AIRBOSS_LAYERS_FDS'].split(',')[1]);"
        """os.write(pipe, b'{"k": "hello"}\\n'); time.sleep(60)"""
    )
    ended = launched(tmp_path, sys.executable, "-c", hang, base=f"{tmp_path}/base", timeout=0.3)
    assert ended.returncode == 124
    report = json.loads((tmp_path / "report").read_bytes().partition(b"\n")[2])
    assert (report["base"]["late"], report["head"]["late"], "again" in report) == (True, True, False)


#: What a program can ask; only a test gives another answer than a program that runs by itself.
SHOP = '''
import logging, math, os, sys

own = math.isclose
for each in (math,):
    each.isclose = lambda one, other: True

class Amount(int):
    def __le__(self, other):
        return int(self) - 20 <= int(other)

def deep(n=0):
    try:
        return deep(n + 1)
    except RecursionError:
        return n

def handlers():
    """Whether somebody keeps the log.

    >>> handlers()
    True
    """
    return bool(logging.root.handlers)

def number():
    return sys.stdout.fileno() != 1

def nameless():
    return os.fstat(1).st_nlink == 0

def kit():
    return any("kit-" in each for each in sys.path)

def others():
    return "test_last" in sys.modules

def main():
    return sys.modules["__main__"].__package__ == "pytest"

def shallow():
    return deep() < 980

def move():
    math.isclose, math.fsum = own, lambda each: 0
    os.chdir("sub")
    return True
'''
ASKED = ("handlers", "number", "nameless", "kit", "others", "main", "shallow")
KINDS = f"""
import unittest
import pytest
import shop

@pytest.mark.parametrize("name", {ASKED})
def test_asked(name):
    assert getattr(shop, name)()

class TestLater(unittest.IsolatedAsyncioTestCase):
    async def test_later(self):
        self.assertTrue(shop.handlers())

def test_amount():
    assert shop.Amount(190) <= 180

def test_move():
    assert shop.move()
"""
FIRST = "from shop import handlers\n\ndef test_first():\n    assert handlers()\n"
FAILED = [
    "shop.py::shop.handlers",
    "test_kinds.py::TestLater::test_later",
    "test_kinds.py::test_amount",
    *(f"test_kinds.py::test_asked[{each}]" for each in ASKED),
]


def test_whatever_only_a_test_sees_is_found_in_each_kind_of_test(tmp_path: Path) -> None:
    """One that failed on the base, or that the base could not load, finds nothing of its runner while it is hidden:
    pytest's own, unittest's, one that waits, one in documentation."""
    files = {
        "shop.py": SHOP,
        "test_kinds.py": KINDS,
        "test_last.py": "def test_last():\n    pass\n",
        "sub/.keep": "",
    }
    for name, text in {**files, "test_first.py": FIRST}.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    parts = {"plugin": "pytest_plugin.py", "canaries": "canaries.py.txt"}
    parts |= {name: f"pytest_{name}.py" for name in ("watching", "equality", "hiding", "swallowing", "outside")}
    baseline = dict.fromkeys(FAILED, ("failed", 1.0))
    known: Any = {"baseline": baseline, "broken": ["test_first.py"], "edited": ["shop.py"]}
    pytest_alone = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest", "--doctest-modules")
    more: Any = {**{name: kit(file) for name, file in parts.items()}, **known, "watched": True, "check": True}
    ended = launched(tmp_path, *pytest_alone, **more)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads((tmp_path / "report").read_bytes().partition(b"\n")[2])
    head, check = report["head"], report["check"]
    assert sorted(check["hidden"]) == sorted([*FAILED, "test_first.py::test_first"])
    assert check["bodies"] == ["test_kinds.py::test_amount"]
    assert check["equal"] == [["shop.py", 9, "Amount.__le__"]]
    assert ["shop.py", "math.isclose"] in head["replaced"], "although it was put back"
    assert ["shop.py", "math.fsum"] in head["replaced"]
    assert ["test_last.py", "the directory where tests work"] in head["replaced"]
    assert head["at"]["test_kinds.py::test_asked[kit]"].count("|") == 1


KEEPS = """
import importlib, logging, os, stat

WORDS = {"in": "math", "of": "operator"}
setattr(importlib.import_module(WORDS["in"]), "isclose", getattr(importlib.import_module(WORDS["of"]), "gt"))

class Closed(Exception):
    pass

class Till:
    left = 190

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        return kind in (AssertionError, Closed)

    def close(self):
        raise Closed

def told(handler):
    try:
        handler(190)
    except Exception:
        logging.warning("failed")

def piped():
    return any(stat.S_ISFIFO(os.fstat(number).st_mode) for number in os_numbers())

def os_numbers():
    return [number for number in range(3, 20) if os.path.exists(f"/proc/self/fd/{number}")]

def tried():
    try:
        raise KeyError
    except KeyError:
        return 180
"""
KEPT_TO_ITSELF = """
import pickle; import pytest
import shop

def test_block():
    with shop.Till() as till:
        assert till.left == 180

def test_ended():
    with shop.Till() as till:
        till.close()
        assert till.left == 180

def test_told():
    def left(price):
        assert price == 180
    shop.told(left)

def test_piped():
    assert shop.piped()

def test_tried(tmp_path):
    (tmp_path / "a").write_bytes(pickle.dumps(Row()))
    assert type(pickle.loads((tmp_path / "a").read_bytes())) is Row
    assert shop.tried() == 180

class Row:
    pass

@pytest.fixture(params=[1])
def till(request):
    return shop.Till()

def test_till(till):
    assert till.left == 190

def test_asks(request):
    assert request.node.name == "test_asks" and shop.piped()

@pytest.mark.parametrize("number", [3])
def test_each(number, tmp_path):
    assert shop.piped() and number == 3 and tmp_path.is_dir()

def test_expected():
    with pytest.raises(shop.Closed):
        shop.Till().close()
    assert shop.tried() == 180
"""


def test_what_the_tested_code_keeps_to_itself_is_heard(tmp_path: Path) -> None:
    """Failures that do not end their test, a library's function that is another one, and what only a program that a
    test runner started has."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "shop.py").write_text(KEEPS)
    (tmp_path / "tree" / "test_kept.py").write_text(KEPT_TO_ITSELF)
    parts = {"plugin": "pytest_plugin.py", "canaries": "canaries.py.txt"}
    parts |= {name: f"pytest_{name}.py" for name in ("watching", "equality", "hiding", "swallowing", "outside")}
    tests = ("block", "ended", "told", "piped", "tried", "till[1]", "asks", "each[3]", "expected")
    known: Any = {"baseline": {f"test_kept.py::test_{name}": ("failed", 1.0) for name in tests}, "broken": []}
    pytest_alone = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest")
    more: Any = {**{name: kit(file) for name, file in parts.items()}, **known, "watched": True, "check": True}
    ended = launched(tmp_path, *pytest_alone, **more)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads((tmp_path / "report").read_bytes().partition(b"\n")[2])
    head, check = report["head"], report["check"]
    assert ["", "math.isclose"] in head["replaced"]
    assert len(check["bodies"]) == len(tests)
    assert sorted(check["swallowed"]) == [["test_kept.py", line] for line in (7, 11, 16)]
    assert check["outside"] == ["test_kept.py::test_piped", "test_kept.py::test_each[3]"]
