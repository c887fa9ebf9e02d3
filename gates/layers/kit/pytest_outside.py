"""The part of our pytest plugin that runs the function of a hidden test once more, in an ordinary program that no
test runner started: what a program could measure of its own process says nothing of tests there.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from gates.layers.kit import pytest_watching as watching

#: How many tests are run so: each is a program of its own.
MOST = 8
_SECONDS = 120
#: What plugins give each test, and no test of a plain function needs.
_OF_PLUGINS = {"event_loop_policy", "_session_faker", "_session_event_loop"}
_PROGRAM = """
import ast, importlib, json, pathlib, sys, tempfile, types
given, sys.argv, out = json.loads(sys.stdin.read()), ["main.py"], sys.stdout
def run():
    sys.path[:], text = given["path"], given.pop("text")
    for name, file, words in given["before"] + [(given["module"], given["as"], text)]:
        module = types.ModuleType(name)
        module.__file__, module.__package__ = file, name.rpartition(".")[0]
        if module.__package__:
            importlib.import_module(module.__package__)
        sys.modules[name] = module
        exec(compile(words, file, "exec"), vars(module))
    tools = ("pytest", "_pytest", "pluggy", "iniconfig")
    for name in [each for each in sys.modules if each.partition(".")[0] in tools]:
        del sys.modules[name]
    owner = getattr(module, given["owner"]) if given["owner"] else None
    case = hasattr(owner, "debug")
    body = owner(given["name"]).debug if case else getattr(owner() if owner else module, given["name"])
    arguments = ast.literal_eval(given["arguments"])
    if given["room"]:
        arguments["tmp_path"] = pathlib.Path(tempfile.mkdtemp())
    return lambda: body(**arguments)
def files_of(error):
    trace, found = error.__traceback__, []
    while trace is not None:
        found.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return found
said = {}
try:
    body = run()
    said["loaded"] = True
    body()
    said["passed"] = True
except BaseException as error:
    said.update(files=files_of(error), skipped=type(error).__module__ in ("unittest.case", "_pytest.outcomes"))
out.write("\\n" + json.dumps(dict(said, token=given["token"])))
out.flush()
"""
_OF_TMP_PATH = {"tmp_path_factory", "request"}
_run, _path, _texts = subprocess.run, list[str](), dict[str, str]()
#: What was there before any test ran.
_there: set[str] = set()
_MOST_FILES = 200_000
#: The tests that could be run so, with the text of their values; and those that are.
_fit: dict[str, str] = {}
_chosen: set[str] = set()


def learn(item: Any) -> None:
    """Remembers a test's file, and where modules are looked for; neither is so while its tests run."""
    _path[:] = [each for each in sys.path if each != watching.asked.get("kit")]
    _there.update(() if _there else _files())
    place = str(item.path)
    try:
        with open(place, encoding="utf-8") as file:
            _texts[place] = file.read()
    except (OSError, UnicodeDecodeError):
        return
    direct = set(getattr(getattr(item, "_fixtureinfo", None), "argnames", ()))
    values = getattr(getattr(item, "callspec", None), "params", {})
    others = set(getattr(item, "fixturenames", ["?"])) - _OF_PLUGINS - direct - _OF_TMP_PATH
    nested = item.nodeid.partition("[")[0].count("::") > 2
    if not others and direct <= {"tmp_path", *values} and not nested and _is_literal(values):
        _fit[item.nodeid] = repr(values)


def fails(item: Any, seems: str, took: float) -> bool:
    """Whether a test that was just passed, in ``took`` seconds, fails in an ordinary program. Only one that needs
    nothing of pytest can be asked. ``seems``: the file that it seems to be in."""
    if not _chosen:
        _chosen.update(random.SystemRandom().sample(list(_fit), min(MOST, len(_fit))))
    if item.nodeid not in _chosen:
        return False
    place, names = str(item.path), item.nodeid.partition("[")[0].split("::")[1:]
    params = getattr(getattr(item, "callspec", None), "params", {})
    before = _configuration(place)
    if before is None or any(item.funcargs.get(name) is not value for name, value in params.items()):
        return False  # what a fixture made of a value has no text
    token = os.urandom(8).hex()
    given = {
        "path": _path, "module": item.module.__name__, "as": seems, "text": _texts[place], "before": before,
        "owner": names[0] if names[1:] else "", "name": names[-1], "token": token,
        "arguments": _fit[item.nodeid], "room": "tmp_path" in item.funcargs,
    }  # fmt: skip
    if not _is_failed(given, took):
        return False
    with _without_leavings() as left:  # an honest test may need a place where it never ran
        return not left or _is_failed(given, took)


def _is_failed(given: dict[str, Any], took: float) -> bool:
    try:
        done = _run(
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(given).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS + 10 * took,
            check=False,
        )
        said = json.loads(done.stdout.split(b"\n")[-1])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        said = {}
    if said.get("token") != given["token"]:
        return True
    files = [watching.within(file) for file in said.get("files", ())]
    ours = any(file not in ("..", watching.within(given["as"])) and not watching.of_tests(file) for file in files)
    return bool((said.get("loaded") or ours) and not said.get("passed") and not said.get("skipped"))


def _files() -> set[str]:
    """What is where a test may leave something."""
    found: set[str] = set()
    for top in (watching.asked["tree"], os.environ.get("TMPDIR", ""), os.environ.get("HOME", ""), "/dev/shm"):
        for directory, below, names in os.walk(top) if top else ():
            below[:] = [name for name in below if os.path.join(directory, name) != watching.asked.get("kit")]
            found.update(os.path.join(directory, name) for name in (*below, *names))
            if len(found) > _MOST_FILES:
                return found
    return found


@contextlib.contextmanager
def _without_leavings() -> Iterator[list[str]]:
    """Moves aside what tests have left so far, and puts it back."""
    new, moved = sorted(_files() - _there), list[str]()
    aside = tempfile.mkdtemp(prefix="kit-")
    try:
        for path in new:
            if os.path.lexists(path):  # else it went along with its directory
                with contextlib.suppress(OSError):
                    shutil.move(path, os.path.join(aside, str(len(moved))))
                    moved.append(path)
        yield moved
    finally:
        for number, path in enumerate(moved):
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.unlink(path)
            with contextlib.suppress(OSError):
                shutil.move(os.path.join(aside, str(number)), path)
        shutil.rmtree(aside, ignore_errors=True)


def _is_literal(values: Any) -> bool:
    """Whether these values are all that their text says."""
    try:
        return bool(ast.literal_eval(repr(values)) == values)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _configuration(place: str) -> Any:
    """The files of fixtures that apply to a file of tests, to be loaded before; ``None``: they have hooks."""
    found: list[list[str]] = []
    directory = os.path.dirname(place)
    while watching.within(directory) != "..":
        file = os.path.join(directory, "conftest.py")
        if os.path.exists(file):
            with open(file, encoding="utf-8", errors="replace") as opened:
                text = opened.read()
            if "def pytest_" in text or "pytest_plugins" in text:
                return None
            found.insert(0, ["conftest", file, text])
        directory = os.path.dirname(directory)
    return found
