"""What the scan looks for in added Python code that asks under which circumstances it runs. Pure."""

from __future__ import annotations

import ast
import re
from typing import Final

from gates.layers.parsed import ParsedFile, names_in

#: Variables that services which run tests set.
_SERVICES: Final = names_in(
    "CI CONTINUOUS_INTEGRATION GITHUB_ACTIONS GITLAB_CI CIRCLECI TRAVIS JENKINS_URL BUILDKITE TEAMCITY_VERSION"
    " TF_BUILD"
)
_VARIABLES: Final = names_in("os.environ os.getenv os.environ.get os.environ.setdefault os.environb os.environ.pop")
_NOW: Final = names_in(
    "datetime.date.today datetime.datetime.today datetime.datetime.now datetime.datetime.utcnow time.time"
    " time.time_ns time.gmtime time.localtime time.strftime"
)
#: Parts of a time that come again, so that a program may depend on them.
_COME_AGAIN: Final = names_in(
    "hour minute second microsecond weekday isoweekday month day tm_hour tm_min tm_wday tm_mon"
)
_PROCESS: Final = names_in("os.getpid os.getsid os.getpgrp os.getpgid os.getpriority")
_DIRECTORY: Final = names_in("os.getcwd os.getcwdb pathlib.Path.cwd")
#: What says how a program was started, and how much it has done: few programs ask, and none compares it.
_MEASURES: Final = names_in(
    "time.process_time time.process_time_ns time.thread_time time.thread_time_ns resource.getrusage os.times"
    " sys.getallocatedblocks sys.getrefcount gc.get_stats gc.get_count weakref.getweakrefcount tempfile.gettempdir"
    " socket.if_nameindex os.path.ismount os.nice os.getlogin getpass.getuser socket.gethostname socket.getfqdn"
    " platform.node psutil.Process psutil.net_if_addrs psutil.pids"
)
_OF_PROCESS: Final = re.compile(
    r"(Sig(Cgt|Ign|Blk|Pnd|Q)|NSpg?id|TracerPid|PPid|Seccomp|NoNewPrivs|Cap(Eff|Prm|Bnd))\b"
)
_FAR: Final = 4


def circumstances(source: ParsedFile, node: ast.AST) -> str:
    """Why a piece of source looks as if it behaved otherwise where it is judged; empty: it does not."""
    if source.test:
        return ""
    match node:
        case ast.Constant(value=str() as text) if text in _SERVICES and _of_variables(source, node):
            return f"depends on where it runs: {text}"
        case ast.Constant(value=str() as text) if _OF_PROCESS.match(text):
            return f"depends on where it runs: {text}"
        case ast.Constant(value=".git") if _asks_for_files(source):
            return "depends on where it runs: whether there is a .git"
        case ast.If(test=test) | ast.IfExp(test=test) if _measured(source, test):
            return f"depends on where it runs: {_measured(source, test)}"
        case ast.Constant(value="stacklevel") if isinstance(source.parents.get(node), ast.Dict):
            return "looks at who calls it: stacklevel"
        case ast.Compare():
            return _compare(source, node)
        case ast.Call():
            return _call(source, node)
    return ""


def _of_variables(source: ParsedFile, node: ast.AST) -> bool:
    above = source.parents.get(node)
    match above:
        case ast.Subscript(value=owner) | ast.Call(func=owner):
            return source.names.dotted(owner) in _VARIABLES
        case ast.Compare(comparators=[owner]):
            return source.names.dotted(owner) in _VARIABLES
    return False


def _compare(source: ParsedFile, node: ast.Compare) -> str:
    sides = [source.folding.given(each) for each in (node.left, *node.comparators)]
    for side in sides:
        called = {source.names.dotted(each.func) for each in ast.walk(side) if isinstance(each, ast.Call)}
        asked = {each.attr for each in ast.walk(side) if isinstance(each, ast.Attribute)}
        fixed = any(each is not side and _is_fixed(source, each) for each in sides)
        if fixed and called & _NOW and not asked & _COME_AGAIN:
            return "depends on the day on which it runs"
        if called & _MEASURES and fixed:
            return f"depends on where it runs: {min(called & _MEASURES)}"
        if called & _DIRECTORY and fixed:
            return "depends on where it runs: its directory"
        if called & _PROCESS and (fixed or all(_asks_process(source, each) for each in sides)):
            return "depends on where it runs: the number of its process"
    return ""


def _measured(source: ParsedFile, test: ast.expr) -> str:
    """Which measure a condition is, without a comparison; empty: none."""
    parts = test.values if isinstance(test, ast.BoolOp) else [test]
    names = [source.names.dotted(each.func) for each in parts if isinstance(each, ast.Call)]
    return next((name for name in names if name in _MEASURES), "")


def _asks_for_files(source: ParsedFile) -> bool:
    asks = {"exists", "is_dir", "is_file", "isdir", "isfile", "lexists", "stat", "access"}
    return any(isinstance(each, ast.Attribute) and each.attr in asks for each in ast.walk(source.tree))


def _asks_process(source: ParsedFile, side: ast.AST) -> bool:
    return any(isinstance(each, ast.Call) and source.names.dotted(each.func) in _PROCESS for each in ast.walk(side))


def _is_fixed(source: ParsedFile, side: ast.AST) -> bool:
    """Whether a value follows from what is written: a literal, or a date of literals."""
    names = {source.names.dotted(each) for each in ast.walk(side) if isinstance(each, ast.Name)}
    constants = any(isinstance(each, ast.Constant) and each.value is not None for each in ast.walk(side))
    return constants and all(name.split(".")[0] == "datetime" for name in names)


def _call(source: ParsedFile, node: ast.Call) -> str:
    name = source.names.dotted(node.func)
    words = {each.arg: each.value for each in node.keywords if each.arg}
    level = words.get("stacklevel") or (node.args[2] if name == "warnings.warn" and len(node.args) > 2 else None)
    if level is not None and not _is_near(level):
        return "looks at who calls it: stacklevel"
    if isinstance(node.func, ast.Attribute) and node.func.attr in {"startswith", "endswith"}:
        inner = [
            each.func for each in ast.walk(source.folding.given(node.func.value)) if isinstance(each, ast.Call)
        ]
        fixed = bool(node.args) and _is_fixed(source, node.args[0])
        if {source.names.dotted(each) for each in inner} & _DIRECTORY and fixed:
            return "depends on where it runs: its directory"
    if "stack_info" in words and _hears_itself(source):
        return "looks at who calls it: stack_info"
    if name == "warnings.filterwarnings" and _is_error(node) and ("module" in words or len(node.args) > 3):
        return "looks at who calls it: warnings.filterwarnings"
    return ""


def _is_near(level: ast.expr) -> bool:
    """Whether a level is written down and small, or is what the function's own caller asked for."""
    if isinstance(level, ast.Constant):
        return not isinstance(level.value, int) or level.value <= _FAR
    return any(isinstance(each, ast.Name) and each.id == "stacklevel" for each in ast.walk(level))


def _is_error(node: ast.Call) -> bool:
    given = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "action")]
    return any(not isinstance(each, ast.Constant) or each.value == "error" for each in given)


def _hears_itself(source: ParsedFile) -> bool:
    """Whether a file also has what gets the text of its own log."""
    names = {
        source.names.dotted(each) for each in ast.walk(source.tree) if isinstance(each, ast.Name | ast.Attribute)
    }
    return not names.isdisjoint(_HEARS)


_HEARS: Final = names_in("io.StringIO logging.Handler logging.Formatter logging.Filter logging.StreamHandler")
