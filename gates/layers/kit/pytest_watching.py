"""The half of our pytest plugin that needs no pytest: its order, its report, and what it watches of tested code.

It gets its order and reports through descriptors that it takes out of the environment at once, so that processes of
the tests find nothing. Without them it does nothing.
"""

from __future__ import annotations

import functools
import importlib.machinery
import json
import os
import re
import sys
import threading
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
#: Programs that say what other programs run.
_ASKS = re.compile(r"(\A|[;&|(])\s*(\S*/)?(ps|pgrep|pstree|lsof)(\s|\Z)")
#: Files of tests, by their path in the tree. Others are what is tested, whatever they are called.
_OF_TESTS = re.compile(
    r"(.*/)?((tests?|__tests__|specs?|__snapshots__)/.*|conftest\.py|tests?\.py|test_[^/]*\.py|[^/]*_test\.py)\Z"
)
#: Programs that run code of a file, or of a module.
_RUNS_CODE = re.compile(r"(python[\d.]*|pypy[\d.]*|node|bun|deno|ruby|perl|php|lua|(ba|da|z)?sh|make)\Z")
#: Processes that multiprocessing begins anew: nothing watches what they read.
_BEGUN_ANEW = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")
_FINDS = (
    "sys._getframe", "sys._getframemodulename", "sys._current_frames", "sys.settrace", "sys.setprofile",
    "sys.addaudithook", "gc.get_objects", "gc.get_referrers", "gc.get_referents",
)  # fmt: skip
_FRAMES = (
    "f_code", "tb_frame", "gi_code", "cr_code", "ag_code", "gi_frame", "cr_frame", "ag_frame",
)  # fmt: skip
#: Functions of the standard library that look at the stack for whoever calls them; empty: all of that file.
_LOOK = (
    (os.sep + "inspect.py", ("currentframe", "stack")),
    (os.sep + "traceback.py", ()),
    (os.path.join("logging", "__init__.py"), ("<lambda>", "currentframe", "findCaller")),
)
_POINTERS = ("ctypes.cdata", "ctypes.cdata/buffer", "ctypes.string_at", "ctypes.wstring_at", "ctypes.dlopen")
#: Modules that look into programs: an honest loader of plugins asks for none of them.
_INTO_PROGRAMS = re.compile(
    r"(_ctypes|_posixsubprocess|_thread|bdb|builtins|code|codeop|ctypes|dis|faulthandler|gc|imp|inspect|linecache"
    r"|importlib\.(_bootstrap|machinery|util)|marshal|multiprocessing\.util|opcode|pdb|runpy|symtable|sys|trace"
    r"|traceback|tracemalloc)\Z"
)
_MEMORY = re.compile(
    r"/proc/?\Z|/proc/[^/]+/(task/[^/]+/)?(mem|maps|map_files|smaps|stack|cmdline|environ|comm|exe|fd|fdinfo)\b"
)
_EVENTS = frozenset(
    ("open", "sqlite3.connect", "os.listdir", "os.scandir", "import", "object.__getattr__", "pickle.find_class")
).union(_POINTERS, _COPIES, _COMMANDS, _FINDS)


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
        return "callers", _itself(_asker(frame))
    if event in _POINTERS:
        return "callers", _itself(frame)
    if event == "pickle.find_class":
        below = str(arguments[1]).split(".")  # a pickle may name what a module has imported
        names = (arguments[0], *(below if below[1:] else ()))
        return "callers", _itself(frame) if any(map(_INTO_PROGRAMS.match, names)) else None
    if event == "import":
        return "processes", _who(frame) if arguments[0] in _BEGUN_ANEW else None
    if event in ("os.listdir", "os.scandir") or (event == "open" and _is_memory(arguments[0])):
        return "callers", _who(frame) if _is_memory(arguments[0]) else None
    if (
        event in ("open", "sqlite3.connect")
        and asked.get("base")
        and not _is_of_tests(arguments[0])
        and _of_a_test(frame)
    ):
        return "data", _data(arguments[0])
    if event not in _COMMANDS:
        return "reads", _who(frame) if _is_of_tests(arguments[0]) else None
    words = _words(event, arguments)
    if _ASKS.search(words):
        return "callers", _who(frame)
    if _reads_files(words):
        return "commands", _who(frame)
    return "processes", _who(frame) if _runs_own(words) else None


def _is_of_tests(name: Any) -> bool:
    name = getattr(name, "co_filename", name)
    if not isinstance(name, (str, bytes)):
        return False
    file = os.fsdecode(name)
    inside = within(file)
    return file.endswith(".py") and ("test" in file if inside == ".." else of_tests(inside))


def _data(name: Any) -> Any:
    """The path of a file in the tree, other than a source; ``None``: it is none."""
    if not isinstance(name, (str, bytes)):
        return None
    path = within(os.path.abspath(os.fsdecode(name)))
    return None if path == ".." or path.endswith((".py", ".pyc")) else path


def _of_a_test(frame: Any) -> bool:
    """Whether it is a test itself, and nothing that it tests, that asks."""
    while frame is not None:
        file = within(frame.f_code.co_filename)
        if file != "..":
            return of_tests(file)
        frame = frame.f_back
    return False


def _is_memory(name: Any) -> bool:
    return isinstance(name, (str, bytes)) and bool(_MEMORY.match(os.fsdecode(name)))


def _asker(frame: Any) -> Any:
    """Who asked a function of the standard library to look at the stack, or the frame itself."""
    while frame.f_back is not None and _looks(frame.f_code):
        frame = frame.f_back
    return frame


def _looks(code: Any) -> bool:
    return any(code.co_filename.endswith(file) and (not names or code.co_name in names) for file, names in _LOOK)


def _watch_names() -> None:
    """Reports where the tested code asks by a name for a module that looks into programs, and where it starts a
    process past what audits it."""
    load = importlib.import_module

    @functools.wraps(load)
    def import_module(name: str, package: Any = None) -> Any:
        if isinstance(name, str) and _INTO_PROGRAMS.match(name):
            _tell("callers", sys._getframe(1))
        return load(name, package)

    importlib.import_module = import_module
    try:
        import _posixsubprocess as processes
    except ImportError:  # not on this system
        return
    begin = processes.fork_exec

    def fork_exec(*given: Any) -> Any:
        frame: Any = sys._getframe(1)
        _tell("commands", frame.f_back if frame.f_code.co_name == "spawnv_passfds" else frame)
        return begin(*given)

    processes.fork_exec = fork_exec


def _tell(kind: str, frame: Any) -> None:
    place = _itself(frame)
    if place is not None:
        say(kind, what=place)


def _itself(frame: Any) -> Any:
    """The place in the tested code, tests aside, where this frame is, or what runs code of no file; ``None``: it is
    elsewhere."""
    while frame.f_code.co_filename.startswith("<") and not frame.f_code.co_filename.startswith("<frozen"):
        if frame.f_back is None:
            return None
        frame = _asker_of_code(frame.f_back)
    file = within(frame.f_code.co_filename)
    return None if file == ".." or of_tests(file) else (file, frame.f_lineno)


def _asker_of_code(frame: Any) -> Any:
    """Who let the standard library run text as code: the next frame in the tree, or the frame itself."""
    above = frame
    while (
        above is not None
        and within(above.f_code.co_filename) == ".."
        and not above.f_code.co_filename.startswith("<")
    ):
        if "site-packages" in above.f_code.co_filename:
            return frame
        above = above.f_back
    return above or frame


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
            return None if of_tests(place[0]) else place
        frame = frame.f_back
    return None


def of_tests(path: str) -> bool:
    """Whether a file of the tree is of tests."""
    return bool(_OF_TESTS.match(path))


if asked and not asked.get("check"):
    _watch_source()
    _watch_names()


def within(file: str) -> str:
    """A file's path in the tree; ``..``: it is not there."""
    path = os.path.relpath(file, asked["tree"]) if os.path.isabs(file) else ".."
    return ".." if path.startswith("..") else path
