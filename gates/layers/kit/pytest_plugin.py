"""A pytest plugin that reports each test by name, adds canaries and inverts tests. The launcher puts it in place.

It gets its order and reports through descriptors that it takes out of the environment at once, so that processes of
the tests find nothing. Without them it does nothing.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib.machinery
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

DESCRIPTORS = "AIRBOSS_LAYERS_FDS"
_Failure = AssertionError
_write, _getpid, _dumps = os.write, os.getpid, json.dumps
_PID = os.getpid()
_READERS = ("linecache.py", "tokenize.py", "traceback.py")
_BUILTIN = (int, float, str, bytes, tuple, list, dict, set, frozenset, complex, bytearray, BaseException)


def _order() -> dict[str, Any]:
    """What to do; empty when nobody asked."""
    descriptors = os.environ.pop(DESCRIPTORS, "")
    if not descriptors:
        return {}
    order, report = (int(word) for word in descriptors.split(","))
    asked: dict[str, Any] = json.loads(os.pread(order, 1 << 28, 0))
    os.close(order)
    asked["report"] = report
    for name, joint, own in (("PYTHONPATH", os.pathsep, asked["kit"]), ("PYTEST_PLUGINS", ",", __name__)):
        rest = [part for part in os.environ.pop(name, "").split(joint) if part and part != own]
        if rest:
            os.environ[name] = joint.join(rest)
    return asked


_asked = _order()


def _say(kind: str, **what: Any) -> None:
    if not _asked:
        return
    if _getpid() != _PID:
        what["forked"] = True
    data = _dumps({"k": kind, **what}).encode() + b"\n"
    while data:
        data = data[_write(_asked["report"], data) :]


def _stand_ins() -> None:
    """Which new modules of the change hide one that is installed."""
    tree = _asked["tree"]
    path = [each for each in sys.path if each and not (each + os.sep).startswith((tree + os.sep, _asked["kit"]))]
    for name in _asked.get("names", ()):
        found = importlib.machinery.PathFinder.find_spec(name, path)
        if found is not None and found.origin:
            _say("stand_ins", what=name)


if _asked:
    _say("hello", pid=_PID)
    _stand_ins()


def _probed(build: Any) -> Any:
    """Builds classes as Python does; an ``__eq__`` of the tested code is also asked about a stranger, each time."""

    def build_class(function: Any, name: str, *bases: Any, **words: Any) -> Any:
        cls = build(function, name, *bases, **words)
        file = os.path.relpath(function.__code__.co_filename, _asked["tree"])
        compare = cls.__dict__.get("__eq__") if isinstance(cls, type) else None
        if compare is None or file.startswith("..") or "test" in file or not hasattr(compare, "__code__"):
            return cls

        @functools.wraps(compare)
        def probing(self: Any, other: Any) -> Any:
            answer = compare(self, other)
            if _yes(answer):
                try:
                    stranger = compare(self, _Stranger())
                except Exception:
                    return answer
                if _yes(stranger):
                    _say("equal", what=[file, compare.__code__.co_firstlineno, cls.__qualname__])
            return answer

        with contextlib.suppress(AttributeError, TypeError):
            cls.__eq__ = probing
        return cls

    return build_class


def _watch_reads() -> None:
    """Reports where the tested code, tests aside, opens a Python file of the tests."""
    tree, told = _asked["tree"] + os.sep, set()

    def hook(event: str, arguments: Any) -> None:
        if event != "open" or not isinstance(arguments[0], (str, bytes)):
            return
        name = os.fsdecode(arguments[0])
        if not name.endswith(".py") or "test" not in name:
            return
        frame = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if file.endswith(_READERS) or "importlib" in file:
                return
            if file.startswith(tree):
                place = (os.path.relpath(file, tree), frame.f_lineno)
                if "test" not in place[0] and place not in told:
                    told.add(place)
                    _say("reads", what=place)
                return
            frame = frame.f_back  # type: ignore[assignment]  # None ends the loop

    sys.addaudithook(hook)


if _asked and not _asked.get("check"):
    _watch_reads()
if _asked.get("check"):
    builtins.__build_class__ = _probed(builtins.__build_class__)


def _yes(answer: object) -> bool:
    return answer is True or (type(answer) is int and answer != 0)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if _asked.get("base") or _asked.get("check"):
        config.option.continue_on_collection_errors = True
        config.option.maxfail = 0
    if _asked.get("check"):
        for name, value in (("numprocesses", 0), ("tx", []), ("dist", "no"), ("lf", False), ("failedfirst", False)):
            if hasattr(config.option, name):
                setattr(config.option, name, value)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    spared = set(_asked.get("quarantine", ())) - set(_asked.get("invert", ()))
    for item in items:
        if item.nodeid in spared:
            item.add_marker(pytest.mark.xfail(reason="in quarantine", strict=False), append=False)
    if not _asked.get("check"):
        return
    only, invert = _asked.get("only"), set(_asked["invert"])
    if only is not None:
        kept = set(only)
        items[:] = [item for item in items if item.nodeid in kept]
    for item in items:
        if item.nodeid in invert:
            _invert(item)
    path = pathlib.Path(_asked["canary"])
    pytest.register_assert_rewrite(path.stem)
    module = pytest.Module.from_parent(session, path=path)
    items.extend(session.genitems(module))


def _invert(item: pytest.Item) -> None:
    """Lets a test run as it is, and fail then."""
    run = item.runtest

    def inverted() -> None:
        run()
        if not getattr(item, "_excinfo", None):  # where unittest puts a failure
            _say("bodies", what=item.nodeid)
        raise _Failure("this test is inverted")

    item.runtest = inverted  # type: ignore[method-assign]  # of this one item only


_outcomes: dict[str, list[Any]] = {}
_WORST = ("error", "failed", "xpassed", "passed", "xfailed", "skipped")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not _asked:
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
        _say("test", id=report.nodeid, outcome=so_far[0] or "error", ms=round(so_far[1] * 1000, 1))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _say("broken", what=report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not _asked or hasattr(session.config, "workerinput"):
        return
    for place in _equal_to_everything():
        _say("equal", what=place)
    _say("end", status=int(exitstatus))


class _Stranger:
    """An object that nothing of the tested code can know, and nothing should be equal to."""

    def __init__(self) -> None:
        self.only_here = object()


def _equal_to_everything() -> list[list[Any]]:
    """Classes of the tested code, tests aside, whose instances say that they equal a stranger: file, line, name."""
    found = []
    cls: Any
    for cls in _classes():
        try:
            compare = type.__dict__["__dict__"].__get__(cls).get("__eq__")
            file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
            relative = os.path.relpath(file, _asked["tree"]) if file else ".."
            if compare is None or relative.startswith("..") or "test" in relative:
                continue
            answer = compare(_instance(cls), _Stranger())
            if _yes(answer):
                written = getattr(compare, "__wrapped__", compare)
                line = getattr(getattr(written, "__code__", None), "co_firstlineno", 0)
                found.append([relative, line, cls.__qualname__])
        except BaseException:
            continue
    return found


def _classes() -> Iterator[type]:
    seen: set[int] = set()
    waiting: list[Any] = [object]
    cls: Any
    while waiting:
        for cls in type.__subclasses__(waiting.pop()):
            if id(cls) not in seen:
                seen.add(id(cls))
                waiting.append(cls)
                yield cls


def _instance(cls: type) -> Any:
    base: Any
    for base in _BUILTIN:
        if issubclass(cls, base):
            return base.__new__(cls)
    return object.__new__(cls)
