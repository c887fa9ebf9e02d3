"""The part of our pytest plugin that hides from tested code that it is tested: what such code could ask, under any
name, looks as in an ordinary program while one test runs.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import re
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from typing import Any

from gates.layers.kit import pytest_watching as watching

#: Modules that only a test runner loads.
_TOOLS = re.compile(r"(_?pytest|pluggy|iniconfig|xdist|execnet|pytest_\w+)(\.|\Z)")
#: Variables that only a test runner or a gate sets, and such as every program finds.
_SET = ("PYTEST", "AIRBOSS", "PYTHONDONTWRITEBYTECODE")
_FOUND = {
    "TERM": "xterm", "USER": "user", "LOGNAME": "user", "SHELL": "/bin/sh", "HOSTNAME": "host", "SHLVL": "1",
    "EDITOR": "vi", "PAGER": "less", "MAIL": "/var/mail/user", "XDG_SESSION_ID": "1",
}  # fmt: skip
#: The files of the tests that are hidden; filled when tests are collected.
places: set[str] = set()
#: Those of them that ask for their own module by its name.
by_name: set[str] = set()
#: What these tests write in quotes: ``mock.patch("test_cart.clock")`` needs the module ``test_cart``.
said: set[str] = set()
#: Not empty: a test runs hidden now.
now: list[bool] = []


@contextlib.contextmanager
def hidden(fixtures: Any = (), filters: bool = False) -> Iterator[None]:
    """Takes away what says that a test runs: variables, the words of the command, pytest's own streams, what it
    leaves in the process, its modules, and the tests themselves, in memory and on the disk. ``fixtures`` of the
    test show what it needs of that; ``filters``: it has filters of its own for warnings."""
    with contextlib.ExitStack() as back:
        _take_depth(back)
        _take_traces(back, fixtures, filters)
        if not {"capfd", "capfdbinary"} & set(fixtures):
            _take_output(back)
        if not {"pytester", "testdir"} & set(fixtures):  # with them, a test runs pytest
            _take_modules(back)
        for place in sorted(places):
            _take_text(back, place)
        back.enter_context(_unsaid())
        now.append(True)
        back.callback(now.pop)
        yield


def hide(place: str) -> None:
    """From now on, hides a file of tests, unless it needs itself."""
    places.add(place)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(place, encoding="utf-8") as file:
            text = file.read()
        if "__name__" in text:
            by_name.add(place)
        said.update(word for quoted in re.findall(r"""["']([\w.]+)""", text) for word in quoted.split("."))


def edited_modules(paths: Any) -> list[list[str]]:
    """Which of these files are loaded, by the names of their modules, each with where it was looked for."""
    wanted = set(paths)
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and watching.within(file) in wanted:
            above = file
            for _ in range(name.count(".") + 1 + file.endswith("__init__.py")):
                above = os.path.dirname(above)
            found.append([name, watching.within(above)])
    return found


def load_first(modules: Any) -> None:
    """Loads modules that the change edits before any test is loaded, so that they cannot see then that there are
    tests. What cannot be loaded so is left to the tests."""
    for name in watching.asked.get("hidden", ()):
        places.add(os.path.join(watching.asked["tree"], name.partition("::")[0]))
    before = sys.path[:]
    with hidden():
        for name, root in modules:
            whole = os.path.normpath(os.path.join(watching.asked["tree"], root))
            if whole not in sys.path:
                sys.path.insert(0, whole)
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
    sys.path[:] = before


#: The filters for warnings that Python begins with: pytest has added its own before it loads a plugin.
_filters: list[Any] = [
    ("default", None, DeprecationWarning, "__main__", 0),
    *(("ignore", None, kind, None, 0) for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning)),
    ("ignore", None, ResourceWarning, None, 0),
]


def _take_traces(back: Any, fixtures: Any, filters: bool) -> None:
    """Takes away pytest's handlers of the log, its hooks, its filters for warnings, and directories of tests from
    which modules are loaded; ``back`` puts them back."""
    root = logging.getLogger()
    for handler in [] if "caplog" in fixtures else root.handlers[:]:
        if type(handler).__module__.startswith("_pytest."):
            root.removeHandler(handler)
            back.callback(root.addHandler, handler)
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        plain, own = getattr(module, "__%s__" % name, None), getattr(module, name)
        if plain is not None and own is not plain:
            setattr(module, name, plain)
            back.callback(setattr, module, name, own)
    if not filters and "recwarn" not in fixtures:
        back.enter_context(warnings.catch_warnings())
        warnings.resetwarnings()  # which says that they changed
        warnings.filters[:] = _filters  # type: ignore[index]  # it is a list
        if getattr(warnings._showwarnmsg_impl, "__module__", "") != "warnings":  # type: ignore[attr-defined]  # its own name for it
            warnings._showwarnmsg_impl = _show  # type: ignore[attr-defined]  # what it was goes back with the filters
    sys.dont_write_bytecode, written = False, sys.dont_write_bytecode
    back.callback(setattr, sys, "dont_write_bytecode", written)
    kit = watching.asked.get("kit")
    for path in [each for each in sys.path if watching.asked and ("test" in os.path.basename(each) or each == kit)]:
        at = sys.path.index(path)
        if path == kit or watching.within(path) != "..":
            sys.path.remove(path)
            back.callback(sys.path.insert, at, path)


def _show(message: Any) -> None:
    sys.stderr.write(warnings._formatwarnmsg(message))  # type: ignore[attr-defined]  # its own name for it


def _take_depth(back: Any) -> None:
    """Lets a program call as deep as if nothing had called it."""
    frame, depth, limit = sys._getframe(), 0, sys.getrecursionlimit()
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(limit + depth)
    back.callback(sys.setrecursionlimit, limit)


def _take_output(back: Any) -> None:
    """Lets the output lead to where nobody keeps it, and not to pytest's file without a name."""
    with contextlib.suppress(OSError):
        kept = [os.dup(number) for number in (1, 2)]
        none = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(none, number)
        os.close(none)
        back.callback(_lead_back, kept)


def _lead_back(kept: list[int]) -> None:
    for number, where in enumerate(kept, 1):
        os.dup2(where, number)
        os.close(where)


def _take_modules(back: Any) -> None:
    """Takes away the modules of the test runner, its finder of modules, our own, and those of tests. Classes stay,
    since a copy or a pickle of an object asks for them. The program that was started is another."""
    taken: dict[str, Any] = {"__main__": sys.modules["__main__"]}
    sys.modules["__main__"] = types.ModuleType("__main__")
    for name, module in list(sys.modules.items()):
        if _TOOLS.match(name) or _is_ours(module):
            taken[name] = sys.modules.pop(name)
        elif _is_of_tests(name, module):
            taken[name] = sys.modules.pop(name)
            own = {key: value for key, value in vars(module).items() if isinstance(value, type)}
            if any(value.__module__ == name for value in own.values()):
                sys.modules[name] = stand_in = types.ModuleType(name)
                vars(stand_in).update(own)
    back.callback(_put_back, taken)
    for at, finder in reversed(list(enumerate(sys.meta_path))):
        if type(finder).__module__.startswith("_pytest."):
            del sys.meta_path[at]
            back.callback(sys.meta_path.insert, at, finder)


def _is_ours(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and os.path.dirname(file) == watching.asked.get("kit")


def _is_of_tests(name: str, module: Any) -> bool:
    """Whether a module is of tests, and no hidden test asks for it by its name."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or file in by_name or name.rpartition(".")[2] in said:
        return False
    return file in places or (bool(watching.asked) and watching.of_tests(watching.within(file)))


def _put_back(taken: dict[str, Any]) -> None:
    for name in [name for name in sys.modules if _TOOLS.match(name)]:
        del sys.modules[name]  # loaded once more meanwhile
    sys.modules.update(taken)


def _take_text(back: Any, place: str) -> None:
    """Takes a file away, and remembers what was in it."""
    with contextlib.suppress(OSError):
        if os.path.islink(place):
            return
        with open(place, "rb") as file:
            text, mode = file.read(), os.fstat(file.fileno()).st_mode
        os.unlink(place)
        back.callback(_write_back, place, text, mode)


def _write_back(place: str, text: bytes, mode: int) -> None:
    with contextlib.suppress(OSError):
        with open(place, "wb") as file:
            file.write(text)
        os.chmod(place, mode & 0o777)


@contextlib.contextmanager
def _unsaid() -> Iterator[None]:
    """Takes away variables, words of the command, and pytest's own streams; adds variables of every program."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_SET)}
    found = {name: value for name, value in _FOUND.items() if name not in os.environ}
    os.environ.update(found)
    streams = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    plain = {name: _plain(stream, number, "<%s>" % name) for number, (name, stream) in enumerate(streams.items())}
    lists = [words for words in (sys.argv, getattr(sys, "orig_argv", None)) if words]
    kept = [words[:] for words in lists]
    for words in lists:
        words[:] = ["main.py"]
    for name, stream in plain.items():
        if stream is not None:
            setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in plain.items():
            if stream is not None:
                if getattr(sys, name) is stream:
                    setattr(sys, name, streams[name])
                stream.detach()
        for at, words in enumerate(lists):
            words[:] = kept[at]
        for name, value in found.items():
            if os.environ.get(name) == value:
                del os.environ[name]
        os.environ.update(taken)


class _Raw(io.RawIOBase):
    """Leads to pytest's stream, and has the number and the name of the program's own."""

    def __init__(self, to: Any, number: int, name: str) -> None:
        self.to, self.number, self.name = to, number, name

    def fileno(self) -> int:
        return self.number

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.to.write(bytes(data))
        self.to.flush()
        return len(data)


class _AtOnce(io.BufferedWriter):
    """Keeps nothing back: a test may ask in between what was written."""

    def write(self, data: Any) -> int:
        count = super().write(data)
        self.flush()
        return count


def _plain(stream: Any, number: int, name: str) -> Any:
    """What looks like a program's own stream and leads where pytest's does; ``None``: it is no stream of pytest."""
    if not type(stream).__module__.startswith("_pytest."):
        return None
    if number == 0:  # of which nothing can be read
        raw: Any = io.FileIO(0, closefd=False)
        raw.name = name
        return io.TextIOWrapper(io.BufferedReader(raw))
    buffer = _AtOnce(_Raw(stream.buffer, number, name))
    return io.TextIOWrapper(buffer, stream.encoding, stream.errors, newline="", write_through=True)


def file_of_tests() -> str:
    """The file that a hidden test seems to be in."""
    return os.path.join(watching.asked["tree"], "main.py")


def disguised(body: Any) -> Any:
    """The same function, which looks to its callees as if another file had it."""
    function = getattr(body, "__func__", body)
    if not isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__"):
        return body
    names = {"co_filename": file_of_tests(), "co_name": "main"}
    if hasattr(function.__code__, "co_qualname"):
        names["co_qualname"] = "main"
    code: Any = function.__code__
    other = types.FunctionType(
        code.replace(**names), function.__globals__, "main", function.__defaults__, function.__closure__
    )
    other.__kwdefaults__ = function.__kwdefaults__
    return types.MethodType(other, body.__self__) if isinstance(body, types.MethodType) else other
