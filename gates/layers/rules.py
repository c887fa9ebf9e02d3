"""What the scan looks for in added Python code. Pure; every rule reads the syntax tree, none the text."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gates.layers.answers import answers
from gates.layers.circumstances import circumstances
from gates.layers.comparing import compares
from gates.layers.detours import detours, suffixes
from gates.layers.parsed import ParsedFile, by_name, is_local, names_in
from gates.layers.paths import TEST_DIRECTORIES
from gates.layers.process_wide import process_wide


@dataclass(frozen=True, slots=True)
class Sight:
    """Where something was seen, and what."""

    node: ast.AST
    why: str


#: Names that no change uses without a reason that a person should see, and what they do.
_ANYWHERE: Final = by_name(
    {
        "ends the process": (
            "os._exit os.abort os.kill os.killpg os.execl os.execle os.execlp os.execlpe os.execv os.execve"
            " os.execvp os.execvpe os.fork os.forkpty pty.fork os.getppid posix._exit posix.kill posix.fork"
            " posix.abort posix.execv posix.execve signal.raise_signal signal.pthread_kill pytest.exit"
            " _thread.interrupt_main"
        ),
        "ends or interrupts the process later": (
            "signal.alarm signal.setitimer atexit.register atexit._run_exitfuncs faulthandler.dump_traceback_later"
            " resource.setrlimit"
        ),
        "looks at who calls it": (
            "sys._getframe sys._getframemodulename sys._current_frames inspect.stack inspect.currentframe"
            " inspect.getouterframes inspect.trace inspect.getframeinfo traceback.extract_stack "
            " traceback.walk_stack traceback.format_stack traceback.print_stack"
        ),
        "watches or finds what others run": (
            "sys.settrace sys.setprofile threading.settrace threading.setprofile sys.addaudithook sys.monitoring"
            " gc.get_objects gc.get_referrers gc.get_referents bdb.Bdb sys._debugmallocstats"
        ),
        "loads code in an unusual way": (
            "marshal.loads marshal.load types.CodeType types.FunctionType sys.meta_path sys.path_hooks"
            " sys.path_importer_cache importlib.reload builtins.exec builtins.eval builtins.compile"
        ),
        "turns off assertions": "builtins.AssertionError",
    }
)
_ANYWHERE_ATTRIBUTES: Final = names_in("f_back f_locals f_globals f_code tb_frame gi_frame cr_frame ag_frame")

_IN_SOURCE: Final = _ANYWHERE | by_name(
    {
        "ends or interrupts the process later": "threading.Timer signal.signal faulthandler",
        "loads code in an unusual way": (
            "ctypes cffi exec eval compile runpy code.InteractiveInterpreter code.InteractiveConsole code.interact"
            " importlib.machinery site.addpackage distutils.core.run_setup logging.config.fileConfig"
            " importlib.util.spec_from_file_location importlib.util.module_from_spec site.addsitedir"
            " sys.path.insert sys.path.append sys.path.extend imp zipimport"
        ),
        "reaches into loaded modules": "sys.modules builtins __builtins__",
        "moves the output of the process": "os.dup2 os.closerange os.setsid os.setpgrp",
        "loads a debugger": "pdb bdb",
        "reads code": "inspect.getsource inspect.getsourcelines inspect.getsourcefile linecache dis",
    }
)
#: What only tests have a use for.
_FRAMEWORKS: Final = names_in("pytest _pytest pluggy unittest nose nose2 xdist doctest hypothesis test")
_IN_TESTS: Final = _ANYWHERE | by_name(
    {
        "skips a test": "pytest.mark.skip pytest.mark.xfail unittest.skip unittest.expectedFailure",
        "reaches into the test framework": "_pytest pluggy",
    }
)
_STANDARD_LIBRARY: Final = sys.stdlib_module_names
_READS_TESTS: Final = re.compile(
    r"(?i)(^|[^a-z])(_?pytest|conftest|junit|unittest)([^a-z]|$)|(^|[/\\])tests?[/\\]|(^|[/\\*])test_\w*"
    r"|_test\.py|/airboss/|AIRBOSS_(GATE|PIPE|LAYERS)|(?-i:^AIRB(OSS_?)?\Z)|^/air(b|\Z)|(?-i:PYTHON[A-Z]{3,})|__(eq|ne|bool|instancecheck|subclasscheck|class|builtins|code)__"
)
_SHELL: Final = re.compile(r"\b(pkill|killall|kill -\w+)\b")
_IDENTITY: Final = names_in("__class__ __eq__ __code__ __bases__")
#: Signals that a service hears from outside: what sends one is held, so that a handler alone changes nothing.
_FROM_OUTSIDE: Final = names_in(
    "signal.SIGTERM signal.SIGINT signal.SIGHUP signal.SIGQUIT signal.SIGUSR1 signal.SIGUSR2 signal.SIGWINCH"
)
_WELL_KNOWN_ENDS: Final = ("main", "_main", "cli", "run", "test", "cmd", "exit", "quit", "usage")
_SELF_MADE: Final = names_in("AssertionError BaseException Exception isinstance len all any sorted print repr")


def sights(source: ParsedFile) -> Iterator[Sight]:
    """Everything that a person should see in one file."""
    for node in ast.walk(source.tree):
        for rule in _RULES:
            why = rule(source, node)
            if why:
                yield Sight(node, why)


def _known(source: ParsedFile, node: ast.AST) -> str:
    if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
        return ""
    name = source.names.dotted(node) or ("?" if isinstance(node, ast.Attribute) else "")
    if not name or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)):
        return ""
    table = _IN_TESTS if source.test else _IN_SOURCE
    name = next((each for each in (name, *_also(source, node, name)) if each in table), name)
    why = table.get(name, "")
    return f"{why}: {name}" if why and not _excused(source, node, name) else ""


def _also(source: ParsedFile, node: ast.AST, name: str) -> list[str]:
    """What else a name may be, where it begins with something that is imported."""
    root: ast.AST = node
    below = ""
    while isinstance(root, ast.Attribute):
        below = f".{root.attr}{below}"
        root = root.value
    imported = isinstance(root, ast.Name) and root.id in source.names.imported
    if imported or name.split(".", maxsplit=1)[0] in _STANDARD_LIBRARY:
        return suffixes(name)
    # Whatever the first part is: a name in a loop, an element of a list.
    return [] if source.test else suffixes(f"?{below}")


def _excused(source: ParsedFile, node: ast.AST, name: str) -> bool:
    if name == "sys.modules":
        above = source.parents.get(node)
        return isinstance(above, ast.Subscript) and ast.unparse(above.slice) == "__name__"
    if name == "signal.signal":
        called = source.parents.get(node)
        heard = called.args[:1] if isinstance(called, ast.Call) and called.func is node else []
        return any(_is_from_outside(source, each) for each in heard) and is_local(source, node)
    if name in {"types.FunctionType", "types.CodeType"}:
        asked = source.parents.get(node)
        asked = source.parents.get(asked) if isinstance(asked, ast.Tuple) else asked
        return isinstance(asked, ast.Call) and source.names.dotted(asked.func) in {"isinstance", "issubclass"}
    if name in {"exec", "eval", "compile", "imp"}:
        return isinstance(node, ast.Name) and not isinstance(source.parents.get(node), ast.Call)
    if name == "logging.config.fileConfig":  # as Alembic writes it
        called = source.parents.get(node)
        return isinstance(called, ast.Call) and any("config_file_name" in ast.unparse(each) for each in called.args)
    return False


def _is_from_outside(source: ParsedFile, node: ast.expr) -> bool:
    """Whether it is a signal that a service hears from outside, or one of a loop over such."""
    name = node.id if isinstance(node, ast.Name) else ""
    for loop in source.above(node):
        if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name) and loop.target.id == name:
            sent = loop.iter.elts if isinstance(loop.iter, ast.Tuple | ast.List) else [loop.iter]
            return all(source.names.dotted(signal) in _FROM_OUTSIDE for signal in sent)
    return source.names.dotted(node) in _FROM_OUTSIDE


def _imports(source: ParsedFile, node: ast.AST) -> str:
    modules: list[str] = []
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        start = "." * node.level + (node.module or "")
        modules = [start, *(f"{start}.{alias.name}" for alias in node.names)]
    for module in modules:
        top = module.split(".")[0]
        if not source.test and (top in _FRAMEWORKS or top.startswith("pytest_")) and not source.ours(top):
            return f"source that imports a test framework: {module}"
        if source.test and top in {"_pytest", "pluggy"}:
            return f"reaches into the test framework: {module}"
        why = (_ANYWHERE if source.test else _IN_SOURCE).get(module, "")
        if why:
            return f"{why}: {module}"
        if not source.test and _of_tests(module, ours=not top or source.ours(top)):
            return f"source that imports a test: {module}"
    return ""


def _of_tests(module: str, *, ours: bool) -> bool:
    """Whether a module is one of tests. In a directory of this repository that is called so, all files are."""
    *packages, last = module.split(".")
    if ours and not TEST_DIRECTORIES.isdisjoint(packages):
        return True
    return any(part in {"tests", "conftest", "__tests__"} or part.startswith("test_") for part in (*packages, last))


def _attributes(source: ParsedFile, node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        if node.attr in _ANYWHERE_ATTRIBUTES:
            return f"looks at who calls it: .{node.attr}"
        if node.attr in {"__code__", "__builtins__", "__subclasses__", "__globals__"} and not source.test:
            return f"reaches into loaded code: .{node.attr}"
        if isinstance(node.ctx, ast.Store | ast.Del) and node.attr in _IDENTITY:
            return f"changes what an object is: .{node.attr}"
    return ""


def _patches(source: ParsedFile, node: ast.AST) -> str:
    """An attribute of a module or class that is not the repository's is replaced."""
    targets: list[ast.expr] = []
    match node:
        case ast.Assign(targets=found) | ast.Delete(targets=found):
            targets = list(found)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            targets = [target]
        case ast.Call(func=func, args=[target, *_]):
            setters = {"setattr", "delattr", "object.__setattr__", "type.__setattr__"}
            owner = _replaced(source, target) if source.names.dotted(func) in setters else ""
            return f"changes another module: {owner}" if owner else ""
    for part in (part for target in targets for part in ast.walk(target)):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store | ast.Del):
            owner = _replaced(source, part.value)
            if owner:
                return f"changes another module: {owner}.{part.attr}"
        elif isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store | ast.Del):
            owner = source.names.dotted(part.value)
            called = source.names.dotted(part.value.func) if isinstance(part.value, ast.Call) else ""
            if owner == "sys.path":
                return "loads code in an unusual way: sys.path"
            if owner == "sys.modules" or owner.endswith("__dict__") or called in {"globals", "vars", "locals"}:
                return f"changes loaded modules: {owner or called}"
    return ""


def _replaced(source: ParsedFile, node: ast.AST) -> str:
    """The module or class, of others, that an expression names; empty: something else."""
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    if isinstance(root, ast.Name) and root.id not in source.names.imported:
        return ""
    owner = source.names.dotted(node)
    if not owner or owner.startswith(".") or source.ours(owner):
        return ""
    parts = owner.split(".")
    named = parts[0] in _STANDARD_LIBRARY or len(parts) == 1 or parts[-1][:1].isupper()
    return owner if named else ""


def _exits(source: ParsedFile, node: ast.AST) -> str:
    """Ends the process while a module is imported."""
    name = ""
    if isinstance(node, ast.Call):
        name = source.names.dotted(node.func)
    elif isinstance(node, ast.Raise) and node.exc is not None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        name = source.names.dotted(raised)
    if name not in {"sys.exit", "exit", "quit", "SystemExit", "builtins.SystemExit"}:
        return ""
    if isinstance(node, ast.Call) and name == "SystemExit" and isinstance(source.parents.get(node), ast.Raise):
        return ""
    for above in source.above(node):
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
            zero = isinstance(node, ast.Call | ast.Raise) and _status(node) in {"", "0", "None", "False"}
            expected = above.name.startswith(_WELL_KNOWN_ENDS)
            return "" if expected or not zero or source.test else f"ends the process with success: {name}"
        if isinstance(above, ast.If) and "__main__" in ast.unparse(above.test):
            return ""
    return f"ends the process while it is imported: {name}"


def _status(node: ast.Call | ast.Raise) -> str:
    call = node if isinstance(node, ast.Call) else node.exc
    return ", ".join(map(ast.unparse, call.args)) if isinstance(call, ast.Call) else ""


def _assertions(source: ParsedFile, node: ast.AST) -> str:
    """Builtin names that assertions need are replaced, or failed assertions are caught."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) if name in _SELF_MADE and not is_local(source, node):
            return f"replaces a builtin name: {name}"
        case ast.ClassDef(name="AssertionError") | ast.FunctionDef(name="AssertionError"):
            return "replaces a builtin name: AssertionError"
        case ast.Name(id="AssertionError", ctx=ast.Load()) if not source.test:
            above = source.parents.get(node)
            called = isinstance(above, ast.Call) and above.func is node
            raised = isinstance(above, ast.Raise) or (
                called and above is not None and isinstance(source.parents.get(above), ast.Raise)
            )
            return "" if raised else "handles failed assertions: AssertionError"
        case ast.Global(names=names) if not _SELF_MADE.isdisjoint(names):
            return "replaces a builtin name"
    return ""


def _dynamic(source: ParsedFile, node: ast.AST) -> str:
    """Names that are made at run time to reach something."""
    if source.test or not isinstance(node, ast.Call):
        return ""
    name = source.names.dotted(node.func)
    match node.args:
        case [target, attr, *_] if name in {"getattr", "setattr"} and not isinstance(attr, ast.Constant):
            owner = source.names.dotted(target)
            imported = isinstance(target, ast.Name) and target.id in source.names.modules
            if (imported or _is_library(source, owner)) and not source.ours(owner):
                return f"reaches a name that is made at run time: {owner}"
        case [module, *_] if name == "__import__" and not isinstance(module, ast.Constant):
            return f"imports a name that is made at run time: {name}"
        case [module, *_] if name == "importlib.__import__" and not isinstance(module, ast.Constant):
            return f"imports a name that is made at run time: {name}"
        case [ast.BinOp() | ast.Call() as made, *_] if name == "importlib.import_module":
            return "" if _is_setting(source, made) else f"imports a name that is made at run time: {name}"
        case [ast.Name(id=root)] if name == "vars" and root in source.names.modules:
            return f"reaches into a module: {ast.unparse(node)}"
    return ""


def _is_setting(source: ParsedFile, node: ast.expr) -> bool:
    """Whether it is a variable of the environment, otherwise a module of the repository."""
    match node:
        case ast.Call(func=func, args=[ast.Constant(), ast.Constant(value=str() as module)]):
            return source.names.dotted(func) in ("os.environ.get", "os.getenv") and source.ours(module)
    return False


def _is_library(source: ParsedFile, name: str) -> bool:
    """Whether a name stands for a module of the standard library, as ``os.sys`` does."""
    top, last = name.split(".", maxsplit=1)[0], name.rpartition(".")[2].lstrip("_")
    return top in source.names.sources and top in _STANDARD_LIBRARY and last in _STANDARD_LIBRARY


def _strings(source: ParsedFile, node: ast.AST) -> str:
    """Source that names tests, test frameworks or what a gate sets."""
    if source.test or not isinstance(node, ast.expr) or isinstance(source.parents.get(node), ast.Expr):
        return ""  # a docstring
    if isinstance(node, ast.BinOp | ast.JoinedStr | ast.Subscript | ast.Call):
        text = source.folding.text(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
    else:
        return ""
    if _SHELL.search(text):
        return "ends processes by a command"
    found = _READS_TESTS.search(text) if len(text) < 4096 else None
    if found and not (found[0] in {"__class__"} or "\n" in text.strip()):
        return f"names tests or what runs them: {text.strip()[:60]!r}"
    return ""


def _hooks(source: ParsedFile, node: ast.AST) -> str:
    match node:
        case ast.FunctionDef(name=name) if name.startswith("pytest_") and name != "pytest_generate_tests":
            return f"a hook of the test framework: {name}"
        case ast.Assign(targets=[ast.Name(id="pytest_plugins" | "collect_ignore" | "collect_ignore_glob" as name)]):
            return f"configures the test framework: {name}"
    return ""


_RULES: Final = (
    _known,
    _imports,
    _attributes,
    _patches,
    _exits,
    compares,
    _assertions,
    _dynamic,
    _strings,
    _hooks,
    detours,
    circumstances,
    answers,
    process_wide,
)
