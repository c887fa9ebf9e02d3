"""A pytest plugin that reports each test by name, adds canaries and inverts tests. The launcher puts it in place.

Its other half has the order and the report. Without an order it does nothing.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import os
import pathlib
import sys
import time
import types
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.unittest import TestCaseFunction

from gates.layers.kit import pytest_equality as equality
from gates.layers.kit import pytest_hiding as hiding
from gates.layers.kit import pytest_outside as outside
from gates.layers.kit import pytest_swallowing as swallowing
from gates.layers.kit import pytest_watching as watching

_Failure = AssertionError


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if watching.asked.get("base") or watching.asked.get("check"):
        config.option.continue_on_collection_errors = True
        config.option.maxfail = 0
    if watching.asked.get("check"):
        for name, value in (("numprocesses", 0), ("tx", []), ("dist", "no"), ("lf", False), ("failedfirst", False)):
            if hasattr(config.option, name):
                setattr(config.option, name, value)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    if watching.asked.get("check") and watching.asked.get("hidden"):
        hiding.load_first(watching.asked.get("edited", ()))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    spared = set(watching.asked.get("quarantine", ())) - set(watching.asked.get("invert", ()))
    for item in items:
        if item.nodeid in spared:
            item.add_marker(pytest.mark.xfail(reason="in quarantine", strict=False), append=False)
    if not watching.asked.get("check"):
        _remember(items)
        return
    only, invert = watching.asked.get("only"), set(watching.asked["invert"])
    if only is not None:
        kept = set(only)
        items[:] = [item for item in items if item.nodeid in kept]
    hidden = set(watching.asked.get("hidden", ()))
    for item in items:
        if item.nodeid in invert:
            _invert(item)
        if item.nodeid in hidden and isinstance(item, pytest.Function):
            hiding.hide(str(item.path))
            swallowing.learn(str(item.path))
            outside.learn(item)
    path = pathlib.Path(watching.asked["canary"])
    pytest.register_assert_rewrite(path.stem)
    module = pytest.Module.from_parent(session, path=path)
    items.extend(session.genitems(module))


def _invert(item: pytest.Item) -> None:
    """Lets a test run as it is, and fail then: inside of everything that calls its function, else outside of it."""
    run = item.runtest

    def inverted() -> None:
        begun: list[bool] = []
        body = getattr(item, "obj", None)
        inside = isinstance(body, (types.FunctionType, types.MethodType))
        if inside:
            failing = _failing(item, body, begun)
            item.obj = failing  # type: ignore[attr-defined]  # of pytest.Function
            if inspect.iscoroutinefunction(body) and isinstance(item, TestCaseFunction):
                setattr(item.instance, item.name, failing)  # unittest asks its own object for it
        with contextlib.nullcontext() if inside else _unseen(item):
            run()
        # What called it swallowed the failure, or did not call it at all.
        if begun or (inside and type(item) is pytest.Function and not inspect.iscoroutinefunction(body)):
            return
        if not getattr(item, "_excinfo", None):  # where unittest puts a failure
            watching.say("bodies", what=item.nodeid)
        raise _Failure("this test is inverted")

    item.runtest = inverted  # type: ignore[method-assign]  # of this one item only


def _failing(item: pytest.Item, body: Any, begun: list[bool]) -> Any:
    """A test's function that fails at its end; one that is asked about is also hidden while it runs."""
    hide = item.nodeid in watching.asked.get("hidden", ())
    if inspect.iscoroutinefunction(body):

        async def waiting(*given: Any, **named: Any) -> None:
            begun.append(True)
            with _unseen(item):
                await (hiding.disguised(body) if hide else body)(*given, **named)
            watching.say("bodies", what=item.nodeid)
            raise _Failure("this test is inverted")

        return functools.wraps(body)(waiting)

    def failing(*given: Any, **named: Any) -> None:
        begun.append(True)
        with _unseen(item):
            (hiding.disguised(body) if hide else body)(*given, **named)
        watching.say("bodies", what=item.nodeid)
        raise _Failure("this test is inverted")

    return functools.wraps(body)(failing)


@contextlib.contextmanager
def _unseen(item: pytest.Item) -> Iterator[None]:
    """Runs a test that is asked about so that what it calls cannot see that it is one. Then asks what it left
    whether it is equal to everything: a class may be gone when the tests have ended."""
    if item.nodeid not in watching.asked.get("hidden", ()):
        yield
        return
    fixtures = getattr(item, "fixturenames", ())
    own = bool(item.get_closest_marker("filterwarnings") or item.config.getini("filterwarnings"))
    collected = gc.isenabled()
    gc.disable()
    try:
        filters = own or bool(item.config.getoption("pythonwarnings"))
        seems = hiding.file_of_tests()
        with hiding.hidden(fixtures, filters), swallowing.heard(str(item.path), seems):
            began = time.monotonic()
            yield
            if outside.fails(item, seems, time.monotonic() - began):
                watching.say("outside", what=item.nodeid)
        for place in equality.equal_to_everything():
            watching.say("equal", what=place)
    finally:
        if collected:
            gc.enable()


_library: dict[str, dict[str, Any]] = {}


def _note_library() -> None:
    """Remembers what public names of the standard library and of pytest stand for, before tested code is loaded."""
    tops = {"pytest", "_pytest", "pluggy", *getattr(sys, "stdlib_module_names", ())}
    kinds = (types.FunctionType, types.BuiltinFunctionType, type)
    for name, module in list(sys.modules.items()):
        if type(module) is types.ModuleType and name.partition(".")[0] in tops:
            known = {
                key: value for key, value in vars(module).items() if isinstance(value, kinds) and key[:1] != "_"
            }
            _library[name] = known


if watching.asked and not watching.asked.get("check"):
    _note_library()


_own_names: dict[int, tuple[Any, dict[str, Any]]] = {}


def _remember(items: list[pytest.Item]) -> None:
    """Notes what the modules of the tests have under each name, before any test runs."""
    _tell_patches()
    kinds = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)
    for item in items:
        module = getattr(item, "module", None)
        if isinstance(module, types.ModuleType) and id(module) not in _own_names:
            found = {name: value for name, value in vars(module).items() if isinstance(value, kinds)}
            _own_names[id(module)] = (module, found)


_start = os.getcwd()


def _tell_moved(file: str) -> None:
    """Reports that tests begin in another directory than the command did."""
    with contextlib.suppress(OSError):
        if os.getcwd() != _start:
            watching.say("replaced", what=[file, "the directory where tests work"])


def _tell_patches() -> None:
    """Reports what modules of others have that the tested code made, tests aside."""
    tree = watching.asked["tree"] + os.sep
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if type(module) is not types.ModuleType or (isinstance(file, str) and file.startswith(tree)):
            continue
        known = _library.get(name, {})
        for key, value in list(vars(module).items()):
            was = known.get(key, value)
            if was is not value and getattr(was, "__module__", "") != getattr(value, "__module__", ""):
                watching.say("replaced", what=["", "%s.%s" % (name, key)])
            _tell_patch("%s.%s" % (name, key), value, tree)
            if isinstance(value, type) and value.__module__ == name:
                for part, inner in list(vars(value).items()):
                    _tell_patch("%s.%s.%s" % (name, key, part), inner, tree)


def _tell_patch(name: str, value: Any, tree: str) -> None:
    for _ in range(3):
        inner = getattr(value, "func", None) if type(value) is functools.partial else None
        value = inner or (value.__func__ if type(value) in (staticmethod, classmethod, types.MethodType) else value)
    made = value.__code__.co_filename if type(value) is types.FunctionType else ""
    if not made and type(type(value)) is type and type(value).__module__ not in _plain_modules:
        made = getattr(sys.modules.get(type(value).__module__), "__file__", None) or ""
    if isinstance(made, str) and made.startswith(tree) and not watching.of_tests(made[len(tree) :]):
        watching.say("replaced", what=[made[len(tree) :], name])


_plain_modules = ("builtins", "typing", "types", "functools")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if watching.asked and not watching.asked.get("check"):
        _tell_moved(watching.within(str(item.path)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    if not watching.asked or watching.asked.get("check"):
        return
    shape = _shape(getattr(item, "obj", None))
    if shape:
        values = getattr(getattr(item, "callspec", None), "params", None)
        parts = _written(values) if values else []
        if parts:
            shape += "|" + " ".join("%08x" % zlib.crc32(part.encode("utf-8", "replace")) for part in parts)
        watching.say("at", id=item.nodeid, what=shape)
    module, known = _own_names.get(id(getattr(item, "module", None)), (None, {}))
    for name in [name for name, value in known.items() if vars(module).get(name, value) is not value]:
        del known[name]
        watching.say("replaced", what=[watching.within(getattr(module, "__file__", "") or ""), name])


def _shape(body: Any) -> str:
    """Where a test's function is from, and what it is compiled to: as it is called, and at its innermost."""
    parts = []
    for function in (getattr(body, "__func__", body), inspect.unwrap(body) if callable(body) else None):
        code = getattr(function, "__code__", None)
        if code is None:
            return ""
        parts.append("%s:%d:%08x" % (watching.within(code.co_filename), code.co_firstlineno, _digest(code)))
    return " ".join(reversed(list(dict.fromkeys(parts))))


def _written(value: Any, name: str = "", depth: int = 6) -> list[str]:
    """What a parameter is made of, where that is written down, each part with its name; empty: of others, each run
    has its own."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return ["%s=%r" % (name, value)]
    if isinstance(value, (list, tuple)):
        inner: Any = enumerate(value)
    elif isinstance(value, dict):
        inner = value.items()
    else:
        inner = () if isinstance(value, type) or callable(value) else getattr(value, "__dict__", {}).items()
    found: list[str] = []
    for key, each in inner if depth else ():
        parts = _written(each, "%s.%s" % (name, key), depth - 1)
        if not parts and type(each) not in (list, tuple, dict):
            return []
        found += parts
    return found


def _digest(code: Any) -> int:
    """A checksum of what code does and with which values, the same in each process."""
    values = sorted("%08x" % _digest(each) if hasattr(each, "co_code") else _value(each) for each in code.co_consts)
    return zlib.crc32(repr((values, code.co_names)).encode("utf-8", "replace"), zlib.crc32(code.co_code))


def _value(value: Any) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


_outcomes: dict[str, list[Any]] = {}
_WORST = ("error", "failed", "xpassed", "passed", "xfailed", "skipped")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not watching.asked:
        return
    expected = hasattr(report, "wasxfail")
    if report.outcome == "failed":
        outcome = "failed" if report.when == "call" else "error"
    elif report.outcome == "skipped":
        outcome = "xfailed" if expected else "skipped"
    elif report.when == "call" and report.outcome == "passed":
        outcome = "xpassed" if expected else "passed"
    else:
        outcome = ""
    so_far = _outcomes.setdefault(report.nodeid, ["", 0.0])
    known = [each for each in (so_far[0], outcome) if each]
    so_far[0] = min(known, key=_WORST.index) if known else ""
    so_far[1] += report.duration
    if report.when == "teardown":
        _outcomes.pop(report.nodeid)
        watching.say("test", id=report.nodeid, outcome=so_far[0] or "error", ms=round(so_far[1] * 1000, 1))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        watching.say("broken", what=report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not watching.asked or hasattr(session.config, "workerinput"):
        return
    for place in equality.equal_to_everything():
        watching.say("equal", what=place)
    if not watching.asked.get("check"):
        _tell_patches()
        for module in hiding.edited_modules(watching.asked.get("edited", ())):
            watching.say("loaded", what=module)
    watching.say("end", status=int(exitstatus))
