"""The part of our pytest plugin that runs the function of a hidden test once more, in an ordinary program that no
test runner started: what a program could measure of its own process says nothing of tests there.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from typing import Any

from gates.layers.kit import pytest_watching as watching

#: How many tests are run so: each is a program of its own.
MOST = 8
_SECONDS = 60
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
    del sys.modules[given["module"]]
    arguments = ast.literal_eval(given["arguments"])
    if given["room"]:
        arguments["tmp_path"] = pathlib.Path(tempfile.mkdtemp())
    return lambda: body(**arguments)
def file_of(error):
    trace, found = error.__traceback__, ""
    while trace is not None:
        found, trace = trace.tb_frame.f_code.co_filename, trace.tb_next
    return found
said = {}
try:
    body = run()
    said["loaded"] = True
    body()
    said["passed"] = True
except BaseException as error:
    said.update(file=file_of(error), skipped="Skip" in type(error).__name__)
out.write("\\n" + json.dumps(dict(said, token=given["token"])))
out.flush()
"""
_OF_TMP_PATH = {"tmp_path_factory", "request"}
_run, _path, _texts, _asked = subprocess.run, list[str](), dict[str, str](), list[str]()


def learn(place: str) -> None:
    """Remembers a file of tests, and where modules are looked for; neither is so while its tests run."""
    _path[:] = [each for each in sys.path if each != watching.asked.get("kit")]
    try:
        with open(place, encoding="utf-8") as file:
            _texts[place] = file.read()
    except (OSError, UnicodeDecodeError):
        _texts.pop(place, None)


def fails(item: Any, seems: str) -> bool:
    """Whether a test whose function was just passed fails in an ordinary program. Only one that needs nothing of
    pytest can be asked. ``seems``: the file that it seems to be in."""
    place, names = str(item.path), item.nodeid.partition("[")[0].split("::")[1:]
    before = _configuration(place)
    fixtures = set(getattr(item, "fixturenames", ["?"])) - _OF_PLUGINS
    got = getattr(item, "funcargs", {})
    params = getattr(getattr(item, "callspec", None), "params", {})
    values = {name: value for name, value in params.items() if got.get(name) is value}  # no fixture's own
    direct = set(getattr(getattr(item, "_fixtureinfo", None), "argnames", ()))
    needs = (direct - values.keys() - {"tmp_path"}) or fixtures - direct - _OF_TMP_PATH
    if (
        needs
        or len(names) > 2
        or not _is_literal(values)
        or before is None
        or place not in _texts
        or len(_asked) >= MOST
    ):
        return False
    _asked.append(item.nodeid)
    token = os.urandom(8).hex()
    given = {
        "path": _path, "module": item.module.__name__, "as": seems, "text": _texts[place], "before": before,
        "owner": names[0] if names[1:] else "", "name": names[-1], "token": token,
        "arguments": repr(values), "room": "tmp_path" in fixtures,
    }  # fmt: skip
    try:
        done = _run(
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(given).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
        said = json.loads(done.stdout.split(b"\n")[-1])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        said = {}
    if said.get("token") != token:
        return True
    file = watching.within(said.get("file", ""))
    ours = file not in ("..", watching.within(seems)) and not watching.of_tests(file)
    return bool((said.get("loaded") or ours) and not said.get("passed") and not said.get("skipped"))


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
