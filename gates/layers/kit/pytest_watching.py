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
import io
import json
import os
import re
import sys
import threading
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
#: Programs that run code of a file, or of a module.
_RUNS_CODE = re.compile(r"(python[\d.]*|pypy[\d.]*|node|bun|deno|ruby|perl|php|lua|(ba|da|z)?sh|make)\Z")
#: Processes that multiprocessing begins anew: nothing watches what they read.
_BEGUN_ANEW = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")
_FINDS = (
    "sys._getframe", "sys._getframemodulename", "sys._current_frames", "sys.settrace", "sys.setprofile",
    "sys.addaudithook", "gc.get_objects", "gc.get_referrers", "gc.get_referents",
)  # fmt: skip
_FRAMES = ("f_code", "tb_frame", "gi_code", "cr_code", "ag_code")
_EVENTS = frozenset(("open", "import", "object.__getattr__", *_COPIES, *_COMMANDS, *_FINDS))
_ORDINARY: Any = (0, "", [], {})
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


def _watch_source() -> None:
    """Reports where the tested code, tests aside, reads files or code of the tests, lets a command read files,
    starts processes that are not watched, or looks for what others run. Its own names for these do not matter."""
    told = set()
    asking = threading.local()

    def hook(event: str, arguments: Any) -> None:
        if event not in _EVENTS or getattr(asking, "now", False):
            return  # what follows raises events, too
        asking.now = True
        try:
            kind, place = _seen(event, arguments, sys._getframe(1))
            if place is not None and (kind, place) not in told:
                told.add((kind, place))
                say(kind, what=place)
        finally:
            asking.now = False

    sys.addaudithook(hook)


def _seen(event: str, arguments: Any, frame: Any) -> Any:
    """Of which kind an event is, and its place in the tested code; ``None``: it is none of its doing."""
    if event == "object.__getattr__":
        if arguments[1] == "__code__":
            return "reads", _itself(frame) if _is_of_tests(getattr(arguments[0], "__code__", None)) else None
        return "callers", _itself(frame) if arguments[1] in _FRAMES else None
    if event in _FINDS:
        return "callers", _itself(frame)
    if event == "import":
        return "processes", _who(frame) if arguments[0] in _BEGUN_ANEW else None
    if event not in _COMMANDS:
        return "reads", _who(frame) if _is_of_tests(arguments[0]) else None
    words = _words(event, arguments)
    if _reads_files(words):
        return "commands", _who(frame)
    return "processes", _who(frame) if _runs_own(words) else None


def _is_of_tests(name: Any) -> bool:
    name = getattr(name, "co_filename", name)
    if not isinstance(name, (str, bytes)):
        return False
    file = os.fsdecode(name)
    inside = within(file)
    file = file if inside == ".." else inside
    return file.endswith(".py") and "test" in file


def _itself(frame: Any) -> Any:
    """The place in the tested code, tests aside, where this frame is; ``None``: it is elsewhere."""
    file = within(frame.f_code.co_filename)
    return None if file == ".." or "test" in file else (file, frame.f_lineno)


def _runs_own(words: str) -> bool:
    """Whether a command runs a program, a script or a module of the tree."""
    named = words.split() or [""]
    if _in_tree(named[0]):
        return True
    if not any(_RUNS_CODE.match(os.path.basename(word)) for word in named):
        return False
    return any(_in_tree(each) for word in named for each in (word, word.replace(".", "/"), _file_of(word)))


def _file_of(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _in_tree(word: str) -> bool:
    path = os.path.join(asked["tree"], word)
    return path.startswith(asked["tree"] + os.sep) and os.path.exists(path) and word not in ("", ".", "/")


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
    _watch_source()
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
    """Takes away what says that a test runs: variables, the words of the command, and pytest's own streams."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PYTEST")}
    streams = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    plain = {name: _plain(stream) for name, stream in streams.items()}
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
        os.environ.update(taken)


def _plain(stream: Any) -> Any:
    """What looks like a program's own stream and leads where pytest's does; ``None``: it is no stream of pytest."""
    if not type(stream).__module__.startswith("_pytest."):
        return None
    if not isinstance(stream, io.TextIOWrapper):  # the input, of which nothing can be read
        return io.TextIOWrapper(io.BytesIO())
    return io.TextIOWrapper(stream.buffer, stream.encoding, stream.errors, newline="", write_through=True)


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
            written = getattr(compare, "__wrapped__", compare)
            code = getattr(written, "__code__", None)
            file = getattr(sys.modules.get(cls.__module__), "__file__", None) or getattr(code, "co_filename", "")
            relative = os.path.relpath(file, asked["tree"]) if file else ".."
            if compare is None or relative.startswith("..") or "test" in relative:
                continue
            one = _instance(cls)
            if _agrees(compare, one, _Stranger()) or any(_easy(compare, one, each) for each in _ORDINARY):
                line = getattr(code, "co_firstlineno", 0)
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
