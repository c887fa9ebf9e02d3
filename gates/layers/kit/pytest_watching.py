"""The half of our pytest plugin that needs no pytest: its order, its report, and what it watches of tested code.

It gets its order and reports through descriptors that it takes out of the environment at once, so that processes of
the tests find nothing. Without them it does nothing.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib.machinery
import inspect
import json
import os
import re
import sys
import types
import zlib
from collections.abc import Iterator
from typing import Any

DESCRIPTORS = "AIRBOSS_LAYERS_FDS"
_write, _getpid, _dumps = os.write, os.getpid, json.dumps
_PID = os.getpid()
#: Functions that read a Python file for a good reason: to import it, or to show a traceback or a warning.
_IMPORT = ("_find_and_load", "_load_unlocked")
_ONE_LINE = ("__init__", "line", "_original_line", "_set_lines")
_COPIES = ("os.link", "os.symlink", "os.rename", "shutil.copyfile", "shutil.copytree", "shutil.move")
_COMMANDS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.spawn")
_READS = re.compile(
    r"(^|[\s/;&|(])([ef]?grep|rg|ag|ack|[gmn]?awk|sed|perl|ruby|find|cat|head|tail|xargs|cp|ln|mv|tar|zip|dd|od|xxd"
    r"|hexdump|strings|cut|sort|tac|nl|diff|cmp|less|more|php|lua|(python[\d.]*|node)\s+-[ce])(\s|$)|\btests?\b"
)
_BUILTIN = (int, float, str, bytes, tuple, list, dict, set, frozenset, complex, bytearray, BaseException)


def _order() -> dict[str, Any]:
    """What to do; empty when nobody asked."""
    descriptors = os.environ.pop(DESCRIPTORS, "")
    if not descriptors:
        return {}
    order, report = (int(word) for word in descriptors.split(","))
    given: dict[str, Any] = json.loads(os.pread(order, 1 << 28, 0))
    os.close(order)
    given["report"] = report
    for name, joint, own in (("PYTHONPATH", os.pathsep, given["kit"]), ("PYTEST_PLUGINS", ",", given["plugin"])):
        rest = [part for part in os.environ.pop(name, "").split(joint) if part and part != own]
        if rest:
            os.environ[name] = joint.join(rest)
    return given


asked = _order()


def say(kind: str, **what: Any) -> None:
    if not asked:
        return
    if _getpid() != _PID:
        what["forked"] = True
    data = _dumps({"k": kind, **what}).encode() + b"\n"
    while data:
        data = data[_write(asked["report"], data) :]


def _stand_ins() -> None:
    """Which new modules of the change hide one that is installed."""
    tree = asked["tree"]
    path = [each for each in sys.path if each and not (each + os.sep).startswith((tree + os.sep, asked["kit"]))]
    for name in asked.get("names", ()):
        found = importlib.machinery.PathFinder.find_spec(name, path)
        if found is not None and found.origin:
            say("stand_ins", what=name)


if asked:
    say("hello", pid=_PID)
    _stand_ins()


def _probed(build: Any) -> Any:
    """Builds classes as Python does; an ``__eq__`` of the tested code is also asked about a stranger, each time."""

    def build_class(function: Any, name: str, *bases: Any, **words: Any) -> Any:
        cls = build(function, name, *bases, **words)
        file = os.path.relpath(function.__code__.co_filename, asked["tree"])
        compare = cls.__dict__.get("__eq__") if isinstance(cls, type) else None
        if compare is None or file.startswith("..") or "test" in file or not hasattr(compare, "__code__"):
            return cls

        @functools.wraps(compare)
        def probing(self: Any, other: Any) -> Any:
            answer = compare(self, other)
            if _yes(answer) and (_agrees(compare, self, _Stranger()) or _easy(compare, self, other)):
                say("equal", what=[file, compare.__code__.co_firstlineno, cls.__qualname__])
            return answer

        with contextlib.suppress(AttributeError, TypeError):
            cls.__eq__ = probing
        return cls

    return build_class


def _watch_reads() -> None:
    """Reports where the tested code, tests aside, reads Python files of the tests, or lets a command read files."""
    told = set()

    def hook(event: str, arguments: Any) -> None:
        if event == "open" or event in _COPIES:
            kind, seen = "reads", _is_of_tests(arguments[0])
        elif event in _COMMANDS:
            kind, seen = "commands", _reads_files(_words(event, arguments))
        else:
            return
        place = _who(sys._getframe(1)) if seen else None
        if place is not None and (kind, place) not in told:
            told.add((kind, place))
            say(kind, what=place)

    sys.addaudithook(hook)


def _is_of_tests(name: Any) -> bool:
    if not isinstance(name, (str, bytes)):
        return False
    file = os.fsdecode(name)
    return file.endswith(".py") and "test" in file


def _words(event: str, arguments: Any) -> str:
    words = arguments[0] if event == "os.system" else arguments[2 if event == "os.spawn" else 1]
    parts = [words] if isinstance(words, (str, bytes)) else list(words or ())
    return " ".join(os.fsdecode(part) for part in parts if isinstance(part, (str, bytes, os.PathLike)))


def _reads_files(words: str) -> bool:
    """Whether a command could read what is in the tree: it names only files elsewhere otherwise."""
    if not _READS.search(words):
        return False
    named = [word for word in words.split()[1:] if "/" in word]
    return not named or any(not word.startswith("/") or word.startswith(asked["tree"]) for word in named)


def _who(frame: Any) -> Any:
    """The place in the tested code, tests aside, that asked for it; ``None``: nobody, or for a good reason."""
    tree = asked["tree"] + os.sep
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if ("importlib" in file and name in _IMPORT) or file.endswith(("rewrite.py", "warnings.py")):
            return None
        if file.endswith("traceback.py") and name not in _ONE_LINE:
            return None
        if file.startswith(tree):
            place = (os.path.relpath(file, tree), frame.f_lineno)
            return None if "test" in place[0] else place
        frame = frame.f_back
    return None


if asked and not asked.get("check"):
    _watch_reads()
if asked.get("check"):
    builtins.__build_class__ = _probed(builtins.__build_class__)


def _agrees(compare: Any, one: Any, other: Any) -> bool:
    try:
        return _yes(compare(one, other))
    except Exception:
        return False


def _easy(compare: Any, one: Any, other: Any) -> bool:
    """Whether it also equals what is far from what it was compared with."""
    return sum(_agrees(compare, one, each) for each in _far_from(other)) > 1


def _far_from(value: Any) -> list[Any]:
    kind = type(value)
    if kind in (int, float):
        return [value * 7 + 100_003, -value * 5 - 70_001, value * 13 + 200_017]
    if kind in (str, bytes):
        mark = b"?" if kind is bytes else "?"
        return [value + mark, mark + value, mark + value[::-1]]
    if kind in (list, tuple):
        return [value + kind([_Stranger()]), kind([_Stranger()]) + value, kind([_Stranger(), _Stranger()])]
    if kind is dict:
        return [{**value, "?": _Stranger()}, {"?": _Stranger()}, {"?": value}]
    return []


def _yes(answer: object) -> bool:
    return answer is True or (type(answer) is int and answer != 0)


def shape(body: Any) -> str:
    """Where a test's function is from, and what it is compiled to: as it is called, and at its innermost."""
    parts = []
    for function in (getattr(body, "__func__", body), inspect.unwrap(body) if callable(body) else None):
        code = getattr(function, "__code__", None)
        if code is None:
            return ""
        parts.append("%s:%d:%08x" % (within(code.co_filename), code.co_firstlineno, zlib.crc32(code.co_code)))
    return " ".join(reversed(list(dict.fromkeys(parts))))


def within(file: str) -> str:
    """A file's path in the tree; ``..``: it is not there."""
    path = os.path.relpath(file, asked["tree"]) if os.path.isabs(file) else ".."
    return ".." if path.startswith("..") else path


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Takes away what says that a test runs: variables, and the words of the command."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PYTEST")}
    lists = [words for words in (sys.argv, getattr(sys, "orig_argv", None)) if words]
    kept = [words[:] for words in lists]
    for words in lists:
        words[:] = ["main.py"]
    try:
        yield
    finally:
        for at, words in enumerate(lists):
            words[:] = kept[at]
        os.environ.update(taken)


def disguised(body: Any) -> Any:
    """The same function, which looks to its callees as if another file had it."""
    function = getattr(body, "__func__", body)
    if not isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__"):
        return body
    names = {"co_filename": os.path.join(asked["tree"], "main.py"), "co_name": "main"}
    if hasattr(function.__code__, "co_qualname"):
        names["co_qualname"] = "main"
    code: Any = function.__code__
    other = types.FunctionType(
        code.replace(**names), function.__globals__, "main", function.__defaults__, function.__closure__
    )
    other.__kwdefaults__ = function.__kwdefaults__
    return types.MethodType(other, body.__self__) if isinstance(body, types.MethodType) else other


class _Stranger:
    """An object that nothing of the tested code can know, and nothing should be equal to."""

    def __init__(self) -> None:
        self.only_here = object()


def equal_to_everything() -> list[list[Any]]:
    """Classes of the tested code, tests aside, whose instances say that they equal a stranger: file, line, name."""
    found = []
    cls: Any
    for cls in _classes():
        try:
            compare = type.__dict__["__dict__"].__get__(cls).get("__eq__")
            file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
            relative = os.path.relpath(file, asked["tree"]) if file else ".."
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
