"""What the scan looks for in added Python code that changes or asks for what belongs to the whole process.

Its settings, what is loaded, the program that was started. Pure.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from functools import cache
from pathlib import Path
from typing import Final

from gates.layers.detours import in_script
from gates.layers.parsed import ParsedFile, is_local, names_in

#: Settings that change what every other code in the process computes, the tests' own included.
_SETTINGS: Final = names_in(
    "decimal.setcontext asyncio.set_event_loop_policy asyncio.events.set_event_loop_policy codecs.register_error"
)
#: The same, where they are set while a module is loaded.
_AT_IMPORT: Final = names_in(
    "os.chdir os.fchdir os.putenv locale.setlocale random.seed time.tzset calendar.setfirstweekday"
)
_SETTING: Final = "changes a setting of the whole process"
_FILES: Final = names_in(
    "os.listdir os.scandir os.stat os.access os.walk open pathlib.Path pathlib.PurePath glob.glob glob.iglob"
    " os.path.exists os.path.isdir os.path.join os.path.lexists os.path.getmtime os.path.getsize"
)
_MADE_LESS: Final = (ast.FloorDiv, ast.RShift, ast.Div, ast.Sub)
#: Variables that choose what else is loaded.
_CHOOSES: Final = re.compile(r"(SETTINGS|CONFIG|SETTINGS_MODULE|CONFIG_FILE|_ENV|PROFILE)\Z")
_VALUES: Final = (
    ast.List | ast.Tuple | ast.Set | ast.Dict | ast.IfExp | ast.BoolOp | ast.Return | ast.arguments | ast.For
)
_NUMBER: Final = "os.getpid"
#: What only a program that looks into itself asks for, whatever it asks.
_INSIDE: Final = names_in(
    "_exit _getframe _getframemodulename _current_frames settrace setprofile addaudithook get_referrers"
    " get_referents get_objects raise_signal pthread_kill execv execve execvp execvpe meta_path path_hooks"
)


def process_wide(source: ParsedFile, node: ast.AST) -> str:
    """Why a piece of source changes or asks what belongs to the process; empty: it does not."""
    if source.test:
        return ""
    match node:
        case ast.Import(names=names) if any(each.name == "__main__" for each in names):
            return "" if in_script(source, node) else "depends on the command that runs it: __main__"
        case ast.ImportFrom(module="__main__"):
            return "" if in_script(source, node) else "depends on the command that runs it: __main__"
        case ast.Attribute(attr=attr) if attr in _INSIDE and isinstance(node.ctx, ast.Load):
            return f"reaches into its program: .{attr}"
        case ast.Attribute() if isinstance(node.ctx, ast.Load):
            return _of_loaded(source, node)
        case ast.Call():
            why = _call(source, node)
            return "" if why and in_script(source, node) else why
        case ast.Assign(targets=targets):
            return next((why for each in targets if (why := _set(source, each))), "")
        case ast.BinOp(op=ast.Div(), right=ast.Constant(value="tests")):
            return "names tests or what runs them: 'tests'"
        case ast.MatchClass(kwd_attrs=words) if not _INSIDE.union(_CARRIES).isdisjoint(words):
            return f"reaches into its program: {', '.join(words)}"
        case ast.Name(ctx=ast.Load()) if node.id in source.names.modules:
            return _handed_on(source, node)
    return ""


_CARRIES: Final = names_in("sys os posix builtins gc inspect ctypes importlib modules")


def _call(source: ParsedFile, node: ast.Call) -> str:
    name = source.names.dotted(node.func)
    if name in _SETTINGS or (name in _AT_IMPORT and not is_local(source, node)):
        return f"{_SETTING}: {name}"
    if name in _FILES and any(_says_tests(source, each) for each in node.args):
        return "names tests or what runs them: 'tests'"
    if name in ("setattr", "object.__setattr__") and node.args:
        of = source.folding.given(node.args[0])
        if isinstance(of, ast.Call) and source.names.dotted(of.func) == "decimal.getcontext":
            return f"{_SETTING}: decimal.getcontext()"
    if name in ("hasattr", "getattr") and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
        asked = f"{source.names.dotted(node.args[0])}.{node.args[1].value!s}"
        if _may_be_loaded(source, asked):
            return f"asks whether a module is loaded: {asked}"
    return "depends on where it runs: the number of its process" if _of_number(source, node, name) else ""


def _says_tests(source: ParsedFile, node: ast.expr) -> bool:
    said = node.value if isinstance(node, ast.Constant) else source.folding.text(node)
    return isinstance(said, str) and said.removeprefix("./").rstrip("/") == "tests"


def _of_number(source: ParsedFile, node: ast.Call, name: str) -> bool:
    """Whether the number of the process is made to a smaller one, which says whether it is small."""
    above = source.parents.get(node)
    if name == _NUMBER:
        return isinstance(above, ast.BinOp) and isinstance(above.op, _MADE_LESS)
    inner = [each for each in node.args if isinstance(each, ast.Call) and source.names.dotted(each.func) == _NUMBER]
    taken = isinstance(above, ast.Subscript) or (isinstance(above, ast.Call) and above.func is not node)
    return bool(inner) and name in ("str", "repr", "hex", "bin", "oct") and taken and not _formats(above)


def _formats(above: ast.AST | None) -> bool:
    return isinstance(above, ast.Call) and isinstance(above.func, ast.Attribute)


def _set(source: ParsedFile, target: ast.expr) -> str:
    if isinstance(target, ast.Attribute):
        of = source.folding.given(target.value)
        name = source.names.dotted(of.func) if isinstance(of, ast.Call) else ""
        return f"{_SETTING}: {name}().{target.attr}" if name == "decimal.getcontext" else ""
    match target:
        case ast.Subscript(value=of_process, slice=ast.Constant(value=str() as name)):
            chooses = source.names.dotted(of_process) == "os.environ" and _CHOOSES.search(name)
            return f"{_SETTING}: os.environ[{name!r}]" if chooses and not is_local(source, target) else ""
    return ""


def _of_loaded(source: ParsedFile, node: ast.Attribute) -> str:
    """A submodule that the file does not import, with another way where it is not loaded."""
    name = source.names.dotted(node)
    if not _may_be_loaded(source, name):
        return ""
    below: ast.AST = node
    for above in source.above(node):
        if isinstance(above, ast.Try) and below in above.body:
            caught = [ast.unparse(each.type) if each.type else "" for each in above.handlers]
            if any(not each or "AttributeError" in each or "Exception" in each for each in caught):
                return f"asks whether a module is loaded: {name}"
        below = above
    return ""


def _may_be_loaded(source: ParsedFile, name: str) -> bool:
    """Whether a dotted name is a submodule of the standard library that this file itself does not load."""
    top, _, below = name.partition(".")
    loads = any(
        each == name or each.startswith(f"{name}.") for each in (*source.names.sources, *source.names.loaded)
    )
    return (
        bool(below) and "." not in below and top in source.names.sources and not loads and _is_submodule(top, below)
    )


@cache
def _is_submodule(package: str, name: str) -> bool:
    at = Path(sysconfig.get_path("stdlib")) / package
    return name.isidentifier() and ((at / f"{name}.py").is_file() or (at / name / "__init__.py").is_file())


def _handed_on(source: ParsedFile, node: ast.Name) -> str:
    """A module as a value, in a file that also asks for names that are made at run time."""
    above = source.parents.get(node)
    if not isinstance(above, _VALUES) or not source.names.asks_any or source.ours(source.names.dotted(node)):
        return ""
    return f"hands on a module: {source.names.dotted(node)}"
