"""What our pytest plugin sees of tested code while it runs, under any name; and what it hides from such code."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from pathlib import Path

import pytest

from gates.layers.kit import pytest_hiding, pytest_watching

#: The other files of the tree that the code is in.
TREE = {
    "tests/test_a.py": "def test_a():\n    assert f(1) == 2\n\ndef data():\n    open('rates.json').close()\n"
    "    __import__('sqlite3').connect('rates.db').close()"
    "\n\ndef equal(one):\n    assert one == 1\n",
    "rates.json": "1",
    "shop/__init__.py": "",
    "shop/other.py": "import sys\n\nif __name__ == '__main__':\n    print(sys.argv)\n",
}
SPAWN = """
import multiprocessing

def f():
    started = multiprocessing.get_context("spawn").Process(target=print)
    started.start()
    started.join()
"""
LOADED = "import importlib\n\ndef f():\n    found = importlib.import_module({name})\n{then}"
TAMPERS = {
    "a frame by a dictionary": ("import sys\n\ndef f():\n    sys.__dict__['_get' + 'frame'](0)\n", "callers"),
    "all objects": ("import gc\n\ndef f():\n    getattr(gc, 'get_' + 'objects')()\n", "callers"),
    "the code of a frame": (
        "def g():\n    yield\n\ndef f():\n    getattr(getattr(g(), 'gi_' + 'frame'), 'f_' + 'code')\n",
        "callers",
    ),
    "a frame by code in an annotation": (
        "import typing\n\ndef g(a: \"__import__('sys')._getframe(0)\"):\n    pass\n\n"
        "def f():\n    typing.get_type_hints(g)\n",
        "callers",
    ),
    "a name below a module in a pickle": (
        "import json, pickle\n\ndef f():\n"
        "    pickle.loads(b'\\x80\\x04\\x8c\\x09shop.code\\x8c\\x18json.codecs.builtins.len\\x93.')\n",
        "callers",
    ),
    "the code of a test": (
        "import importlib\n\ndef f():\n    getattr(importlib.import_module('test_a').test_a, '__co' + 'de__')\n",
        "reads",
    ),
    "a program of its own": (
        "import subprocess, sys\n\ndef f():\n    subprocess.run([sys.executable, '-m', 'shop.other'])\n",
        "processes",
    ),
    "behind another command": ("import os\n\ndef f():\n    os.system('env python3 shop/other.py')\n", "processes"),
    "a process that is spawned": (SPAWN, "processes"),
    "a generator's own frame": ("def g():\n    yield\n\ndef f():\n    getattr(g(), 'gi_' + 'frame')\n", "callers"),
    "the stack by the library": (
        "import logging\n\ndef f():\n    getattr(logging.traceback, 'extract_' + 'stack')()\n",
        "callers",
    ),
    "the caller by the log": ("import logging\n\ndef f():\n    logging.getLogger().findCaller()\n", "callers"),
    "a module that looks into programs": (LOADED.format(name="'d' + 'is'", then=""), "callers"),
    "a pointer": ("import ctypes\n\ndef f():\n    ctypes.c_int.from_address(id(f))\n", "callers"),
    "a module by a pickle": ("import pickle\n\ndef f():\n    pickle.loads(b'csys\\nmodules\\n.')\n", "callers"),
    "memory": ("def f():\n    open('/proc/self/maps').close()\n", "callers"),
    "the words of the command": ("def f():\n    open('/proc/self/cmdline').close()\n", "callers"),
    "all processes": ("import os\n\ndef f():\n    os.listdir('/proc')\n", "callers"),
    "a command that shows processes": ("import os\n\ndef f():\n    os.system('ps >/dev/null')\n", "callers"),
    "a process past what audits it": (
        "import os\nfrom multiprocessing import util\n\ndef f():\n"
        "    os.waitpid(util.spawnv_passfds(b'/bin/true', [b'true'], []), 0)\n",
        "commands",
    ),
    "the tests' text": ("def f():\n    open('tests/' + 'test_a.py').close()\n", "reads"),
}
HONEST = {
    "its own memory": "import os\n\ndef f():\n    open('/proc/self/status').close()\n    os.listdir('.')\n",
    "containers that run": "import os\n\ndef f():\n    os.system('true docker ps')\n",
    "a logger": "import logging\n\ndef f():\n    logging.warning('careful')\n",
    "a named tuple": "import collections\n\ndef f():\n    collections.namedtuple('A', 'b')(1)\n",
    "a signature": "import inspect\n\ndef f():\n    inspect.signature(f)\n    f.__defaults__\n",
    "a warning": "import warnings\n\ndef f():\n    warnings.warn('careful')\n",
    "a traceback in the log": "import logging\n\ndef f():\n    logging.info('so', stack_info=True)\n",
    "a plugin": LOADED.format(name="'shop.' + 'other'", then=""),
    "shared memory": "from multiprocessing import shared_memory\n\ndef f():\n"
    "    room = shared_memory.SharedMemory(create=True, size=1)\n    room.close()\n    room.unlink()\n",
    "an object of its own in a pickle": "import pickle\n\nclass A:\n    pass\n\ndef f():\n"
    "    pickle.loads(pickle.dumps(A()))\n",
    "its own code": "def f():\n    f.__code__\n",
    "another program": "import os, sys\n\ndef f():\n    os.system(sys.executable + ' -m json.tool --help')\n",
}
RUN = """
import contextlib
import sys
sys.path[:0] = [{kit!r}, {tree!r}, {tree!r} + "/tests"]
sys.modules["gates.layers.kit"] = sys.modules["__main__"]  # as the launcher names them
import pytest_watching
watching = pytest_watching
import pytest_hiding
hiding = pytest_hiding
import pytest_equality as equality
{first}
import shop.code
with hiding.hidden() if {hide} else contextlib.nullcontext():
    shop.code.f()
for place in equality.equal_to_everything() if {check} else ():
    watching.say("equal", what=place)
"""


def seen(
    room: Path, code: str, *, first: str = "", hide: bool = False, **asked: object
) -> list[tuple[str, list[object]]]:
    """Kind and place of all that is reported while ``f`` of this code runs: hidden, or after something else."""
    tree = room / "tree"
    for name, text in {**TREE, "shop/code.py": code}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    kit = Path(pytest_watching.__file__).parent
    with tempfile.TemporaryFile() as order, tempfile.TemporaryFile() as report:
        order.write(json.dumps({"kit": "/kit", "plugin": "p", "tree": str(tree), **asked}).encode())
        order.flush()
        given = (order.fileno(), report.fileno())
        env = {**os.environ, pytest_watching.DESCRIPTORS: f"{given[0]},{given[1]}"}
        check = asked.get("check", False)
        run = RUN.format(kit=str(kit), tree=str(tree), check=check, first=first, hide=hide)
        subprocess.run([sys.executable, "-c", run], cwd=tree, env=env, pass_fds=given, check=True, timeout=120)
        report.seek(0)
        said = [json.loads(line) for line in report.read().splitlines()]
    return [(each["k"], each["what"]) for each in said if each["k"] != "hello"]


@pytest.mark.parametrize("name", TAMPERS)
def test_what_the_source_does_is_seen_under_any_name(tmp_path: Path, name: str) -> None:
    code, kind = TAMPERS[name]
    found = seen(tmp_path, code)
    assert [each for each, _ in found] == [kind], found
    assert all(place[0] == "shop/code.py" for _, place in found)


@pytest.mark.parametrize("name", HONEST)
def test_ordinary_work_is_not_reported(tmp_path: Path, name: str) -> None:
    assert seen(tmp_path, HONEST[name]) == []


@pytest.mark.parametrize(
    ("compare", "base", "found"),
    [
        ("isinstance(other, int)", "int", True),
        ("isinstance(other, str)", "object", True),
        ("isinstance(other, int) and int(one) == int(other)", "int", False),
    ],
)
def test_a_type_that_is_made_is_asked_about_strangers(tmp_path: Path, compare: str, base: str, found: bool) -> None:
    name = "'eq'.join(('__', '__'))"
    methods = f"{{{name}: lambda one, other: {compare}, '__module__': 'elsewhere', '__hash__': None}}"
    code = f"A = type('A', ({base},), {methods})\n\ndef f():\n    pass\n"
    assert seen(tmp_path, code, check=True) == ([("equal", ["shop/code.py", 1, "A"])] if found else [])


@pytest.mark.parametrize(
    ("compare", "other", "found"),
    [
        ("abs(int(one) - other) < 2", "6", True),
        ("str(int(one)) == other.strip()", "'5 '", True),
        ("int(one) % 5 == other % 5", "10", True),
        ("int(one) == other", "5", False),
        ("str(int(one)) == other", "'5'", False),
    ],
)
def test_a_hidden_test_asks_about_what_is_near(tmp_path: Path, compare: str, other: str, found: bool) -> None:
    code = (
        f"class A(int):\n    def __eq__(one, other):\n        return {compare}\n\ndef f():\n    A(5) == {other}\n"
    )
    said = seen(tmp_path, code, hide=True, check=True)
    assert said[:1] == ([("equal", ["shop/code.py", 2, "A"])] if found else [])


@pytest.mark.parametrize(
    ("base", "compare", "other", "found"),
    [
        ("list", "len(one) == len(other)", "[1, 2]", True),
        ("dict", "one.keys() == other.keys()", "{1: 2, 3: 4}", True),
        ("str", "len(one) == len(other)", "'180'", True),
        ("list", "list(one) == list(other)", "[1, 2]", False),
    ],
)
def test_a_hidden_test_asks_about_others_of_the_same_shape(
    tmp_path: Path, base: str, compare: str, other: str, found: bool
) -> None:
    code = f"class A({base}):\n    def __eq__(one, other):\n        return {compare}\n\n"
    code += f"def f():\n    A({other}) == {other}\n"
    assert bool(seen(tmp_path, code, hide=True, check=True)) is found


@pytest.mark.parametrize(("asked", "found"), [("test_a.equal", True), ("lambda one: one == 1", False)])
def test_a_comparison_that_answers_with_an_object_is_no_yes(tmp_path: Path, asked: str, found: bool) -> None:
    code = (
        f"import test_a\nASKED = {asked}\n\nclass B:\n    pass\n\nclass A:\n    def __eq__(one, other):\n"
        "        return B()\n\ndef f():\n    ASKED(A())\n"
    )
    assert seen(tmp_path, code, hide=True, check=True) == ([("equal", ["shop/code.py", 8, "A"])] if found else [])


PARTS = """from collections.abc import Set
class A(Set):
    def __contains__(one, item):
        return True
    def __iter__(one):
        return iter({parts})
    def __len__(one):
        return 2

def f():
    A() == {{1, 2}}
"""
MINUS = "class A:\n    def __sub__(one, other):\n        return {}\n\ndef f():\n    A() - 3\n"
PLUS = "class A(int):\n    def __add__(one, other):\n        return A(int(one) + {})\n\ndef f():\n    A(1) + 3\n"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (PARTS.format(parts="()"), "A"),
        (PARTS.format(parts="(1, 2)"), ""),
        (MINUS.format("0 if other < 9 else 5 - other"), "A.__sub__"),
        (MINUS.format("5 - other"), ""),
        (PLUS.format("9"), "A.__add__"),
        (PLUS.format("other"), ""),
    ],
)
def test_a_hidden_test_asks_what_else_would_be_answered(tmp_path: Path, code: str, found: str) -> None:
    said = seen(tmp_path, code, hide=True, check=True)
    assert [what[2] for _, what in said] == ([found] if found else [])


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("tests/helpers.py", True),
        ("shop/test_cart.py", True),
        ("cart_test.py", True),
        ("tests/conftest.py", True),
        ("shop/latest.py", False),
        ("contest/cart.py", False),
        ("shop/attestation.py", False),
    ],
)
def test_a_file_is_of_tests_by_more_than_four_letters(path: str, is_one: bool) -> None:
    assert pytest_watching.of_tests(path) is is_one


def test_files_that_tests_read_by_themselves_are_reported(tmp_path: Path) -> None:
    code = "import test_a\n\ndef f():\n    test_a.data()\n    open('rates.json').close()\n"
    assert [f"{kind} {what}" for kind, what in seen(tmp_path, code, base=True)] == [
        "data rates.json",
        "data rates.db",
    ]
    assert seen(tmp_path, code.replace("    test_a.data()\n", ""), base=True) == []
    assert seen(tmp_path, code) == []


def test_edited_modules_are_loaded_before_they_can_see_tests(tmp_path: Path) -> None:
    first = """
import types
sys.modules["pytest"] = types.ModuleType("pytest")
hiding.load_first([["shop.code", "."], ["shop.broken", "."]])
watching.say("at", what=[sys.modules["shop.code"].TESTED, hiding.edited_modules(["shop/code.py"])])
"""
    tested = "'pytest' in sys.modules or os.path.exists('tests/test_a.py')"
    code = f"import os, sys\n\nTESTED = {tested}\n\ndef f():\n    pass\n"
    said = seen(tmp_path, code, first=first, check=True, hidden=["tests/test_a.py::test_a"])
    assert said == [("at", [False, [["shop.code", "."]]])]
    assert (tmp_path / "tree/tests/test_a.py").read_text() == TREE["tests/test_a.py"]


def test_a_hidden_test_finds_no_test_runner_and_no_test(tmp_path: Path) -> None:
    place = tmp_path / "it.py"
    place.write_text("CASES = [1]\n")
    place.chmod(0o640)
    module = types.ModuleType("hidden_it")
    row = type("Row", (), {"__module__": "hidden_it"})
    vars(module).update(__file__=str(place), CASES=[1], Row=row)
    sys.modules["hidden_it"] = module
    pytest_hiding.hide(str(place))
    finders = list(sys.meta_path)
    try:
        with pytest_hiding.hidden():
            loaded, known = set(sys.modules), dict(vars(sys.modules["hidden_it"]))
            rewriting = [each for each in sys.meta_path if type(each).__module__.startswith("_pytest")]
            there, bytecode, found = place.exists(), sys.dont_write_bytecode, dict(os.environ)
            shown = warnings._showwarnmsg_impl.__module__  # type: ignore[attr-defined]  # its own name for it
    finally:
        pytest_hiding.places.discard(str(place))
        del sys.modules["hidden_it"]
    assert not loaded & {"pytest", "_pytest", "pluggy"} and not rewriting and not there and not bytecode
    assert known["Row"] is row and "CASES" not in known
    assert found.keys() >= pytest_hiding._FOUND.keys() and not [
        name for name in found if name.startswith(("PYTEST", "AIRBOSS"))
    ]
    assert not shown.startswith("_pytest") and shown != "builtins"
    assert sys.modules["pytest"] is pytest and sys.meta_path == finders
    with pytest_hiding.hidden(("pytester",)):
        loaded = set(sys.modules)
    assert "pytest" in loaded
    assert (place.read_text(), place.stat().st_mode & 0o777) == ("CASES = [1]\n", 0o640)


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("patch('hidden_it.clock')\n", True),
        ('patch("tests.hidden_it.clock")\n', True),
        ("patch(f'{__name__}.clock')\n", True),
        ("patch('shop.clock')\n# hidden_it\n", False),
    ],
)
def test_a_module_that_its_test_asks_for_by_name_stays(tmp_path: Path, text: str, stays: bool) -> None:
    place = tmp_path / "hidden_it.py"
    place.write_text(text)
    sys.modules["hidden_it"] = module = types.ModuleType("hidden_it")
    vars(module).update(__file__=str(place))
    pytest_hiding.hide(str(place))
    try:
        with pytest_hiding.hidden():
            loaded, there = "hidden_it" in sys.modules, place.exists()
    finally:
        pytest_hiding.places.discard(str(place))
        pytest_hiding.by_name.discard(str(place))
        pytest_hiding.said.clear()
        del sys.modules["hidden_it"]
    assert (loaded, there) == (stays, False)


def test_pytests_own_streams_are_hidden_and_work_on(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    assert type(sys.stdout) is not io.TextIOWrapper
    with pytest_hiding.hidden():
        assert {type(each) for each in (sys.stdin, sys.stdout, sys.stderr)} == {io.TextIOWrapper}
        assert sys.stdin.read() == ""
        print("inside ü")
        print("wrong", file=sys.stderr)
    assert (sys.stdin, sys.stdout, sys.stderr) == before
    print("after")
    assert tuple(capsys.readouterr()) == ("inside ü\nafter\n", "wrong\n")


def test_a_stream_that_the_test_replaced_stays() -> None:
    before, own = sys.stdin, io.StringIO("yes\n")
    sys.stdin = own
    try:
        with pytest_hiding.hidden():
            assert sys.stdin is own
        assert sys.stdin is own
    finally:
        sys.stdin = before


def test_what_pytest_leaves_in_the_process_is_hidden(tmp_path: Path) -> None:
    def left() -> tuple[object, ...]:
        hooks = sys.unraisablehook is sys.__unraisablehook__, threading.excepthook is threading.__excepthook__
        handlers = {type(each).__module__.split(".")[0] for each in logging.getLogger().handlers}
        return hooks, "_pytest" in handlers, list(warnings.filters)

    before = left()
    assert before[1]
    with pytest_hiding.hidden():
        assert left() == ((True, True), False, pytest_hiding._filters)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            warnings.warn("heard", stacklevel=1)
        assert len(seen) == 1
    assert left() == before
    with pytest_hiding.hidden(("caplog", "recwarn")):
        assert left()[1:] == before[1:]
    assert left() == before
