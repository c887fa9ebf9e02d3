"""What the scan looks for in added Python code besides names: ways around them. Pure."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from typing import Final

from gates.layers.parsed import ParsedFile, names_in

_STANDARD_LIBRARY: Final = sys.stdlib_module_names
#: Modules of the standard library through which a program can look into itself.
CARRIED: Final = names_in(
    "sys os posix builtins gc inspect signal importlib threading _thread ctypes traceback linecache dis marshal"
    " types atexit faulthandler tracemalloc warnings unittest"
)
#: Attributes that only tampering asks for by a string.
_BY_STRING: Final = names_in(
    "_exit _getframe _current_frames settrace setprofile f_back f_locals f_globals f_code tb_frame gi_frame"
    " cr_frame __globals__ __code__ __builtins__ __subclasses__ __self__ modules meta_path"
    " get_referrers get_objects addaudithook pthread_kill raise_signal execv execve"
)
#: Ordinary words, which count only where they are put together.
_WORDS: Final = names_in("modules __self__")
_DETOURS: Final = frozenset({"operator.attrgetter", "operator.methodcaller", "inspect.getattr_static"})
#: What can load or run what is only data in the file.
_LOADERS: Final = names_in(
    "pickle.loads pickle.load pickle.Unpickler marshal.loads dill.loads cloudpickle.loads shelve.open"
)
_RUNNERS: Final = names_in(
    "timeit.timeit timeit.repeat timeit.Timer timeit.main cProfile.run cProfile.runctx profile.run profile.runctx"
    " trace.Trace pdb.run pdb.runeval pdb.runcall bdb.Bdb pdb.Pdb codeop.compile_command pydoc.locate"
    " pkgutil.resolve_name importlib.metadata.EntryPoint logging.config.BaseConfigurator"
    " logging.config.DictConfigurator typing.ForwardRef doctest.run_docstring_examples"
)
_WATCHES: Final = names_in(
    "tracemalloc gc.callbacks cProfile.Profile profile.Profile sys.setswitchinterval threading.settrace_all_threads"
    " threading.setprofile_all_threads faulthandler.dump_traceback logging.Logger.findCaller"
    " traceback.FrameSummary traceback.StackSummary traceback.walk_tb inspect.getinnerframes tokenize.open"
    " pkgutil.iter_importers pkgutil.get_importer sys.dont_write_bytecode sys.flags.dont_write_bytecode"
    " sys.set_coroutine_origin_tracking_depth sys.get_coroutine_origin_tracking_depth"
)
_MEMBERS: Final = names_in("inspect.getmembers inspect.getmembers_static object.__getattribute__")
_BUILTINS: Final = frozenset(dir(builtins))
_READS: Final = names_in("readline.read_history_file readline.read_init_file")
_RAW_WRITES: Final = names_in("os.write os.pwrite os.writev os.pwritev os.sendfile os.splice os.fdopen")
_MEMORY: Final = re.compile(
    r"/proc/(?!(self|thread-self)/(status|statm|io|limits|cgroup|mountinfo|mounts|oom_\w+)\Z)(self|thread-self|curproc|\d|%[ds]|\{|$)|^/proc$|/dev/fd"
)
_ENCODINGS: Final = frozenset({"utf-8", "utf8", "ascii", "us-ascii", "latin-1", "iso-8859-1", "iso-8859-15"})
_CODING: Final = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_TURNS: Final = re.compile(rb"\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
#: Letters that nobody sees, and that a name may be made of: Hangul fillers.
_UNSEEN: Final = re.compile(rb"\xe1\x85[\x9f\xa0]|\xe3\x85\xa4|\xef\xbe\xa0")
_BY_NAME: Final = names_in("getattr setattr delattr hasattr")
_REACHES: Final = names_in("getattr setattr delattr vars globals __import__")
_ASKS: Final = names_in("getattr hasattr inspect.getattr_static inspect.getmembers")
_RUNS_CODE: Final = names_in("__import__ getattr eval exec compile globals vars locals open")
_INTO_PROGRAMS: Final = re.compile(
    r"(_ctypes|_posixsubprocess|_thread|_?pytest|bdb|builtins|codeop|ctypes|dis|faulthandler|gc|imp|inspect|linecache"
    r"|importlib(\.(_bootstrap|machinery|util))?|marshal|multiprocessing\.util|opcode|pdb|pluggy|runpy|symtable|sys"
    r"|traceback|tracemalloc|unittest)(\.\w+)*"
)
#: What is given a list and leaves it as it is.
_ONLY_READS: Final = names_in(
    "extend_path iter_modules walk_packages len list tuple set iter enumerate sorted reversed repr str print any"
    " all map filter join"
)
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SCRIPT_NAMES: Final = ("main", "_main", "cli", "parse", "_parse", "usage", "run")


def suffixes(name: str) -> list[str]:
    """What a dotted name may also be: ``os.sys._getframe`` and ``shop.sys._getframe`` are ``sys._getframe``."""
    parts = name.split(".")
    if len(parts) < 3:
        return []
    if parts[0] not in _STANDARD_LIBRARY:
        return [".".join(parts[at:]) for at in range(1, len(parts) - 1) if parts[at] in CARRIED]
    return [".".join(parts[at:]) for at in range(1, len(parts) - 1) if parts[at] in _STANDARD_LIBRARY]


def hidden_lines(data: bytes) -> str:
    """Why the lines of a file are not those that a reader of the change sees; empty: they are."""
    for line in data.split(b"\n")[:2]:
        found = _CODING.match(line)
        if found and found[1].decode("ascii", "replace").lower().replace("_", "-") not in _ENCODINGS:
            return f"is written in an encoding that can hide code: {found[1].decode('ascii', 'replace')}"
    if b"\r" in data.replace(b"\r\n", b""):
        return "has carriage returns that end lines for Python only"
    return shown_otherwise(data)


def shown_otherwise(data: bytes) -> str:
    """Signs that turn the direction of writing, and letters that nobody sees: what is read is not what runs."""
    if _UNSEEN.search(data):
        return "has letters that nobody sees"
    return "has signs that show its lines in another order" if _TURNS.search(data) else ""


def hidden_script_lines(data: bytes) -> str:
    """The same for JavaScript, which has two more signs that end a line."""
    if b"\r" in data.replace(b"\r\n", b"") or b"\xe2\x80\xa8" in data or b"\xe2\x80\xa9" in data:
        return "has signs that end lines for JavaScript only"
    return shown_otherwise(data)


def detours(source: ParsedFile, node: ast.AST) -> str:
    """A way around the names that other rules know, in source."""
    if source.test:
        return ""
    match node:
        case ast.ImportFrom(module=str() as module, names=[ast.alias(name="*")], level=0):
            if module.split(".")[0] in _STANDARD_LIBRARY:
                return f"imports names that are not written down: from {module} import *"
        case ast.Constant(value=str() as text):
            if text in _BY_STRING - _WORDS:
                return f"names what it reaches in a string: {text!r}"
            if _MEMORY.search(text) and not isinstance(source.parents.get(node), ast.Expr):
                return f"reaches into processes: {text[:40]!r}"
        case ast.Import(names=names):
            for alias in names:
                if _private(alias.name):
                    return f"a private module of the standard library: {alias.name}"
        case ast.ImportFrom(module=str() as module, level=0) if _private(module):
            return f"a private module of the standard library: {module}"
        case ast.ImportFrom(module=str() as module, names=names, level=0):
            for alias in names:
                if _private_part(source, f"{module}.{alias.name}"):
                    return f"a private part of the standard library: {module}.{alias.name}"
        case ast.Attribute(
            attr="findCaller"
            | "get_stack"
            | "formatStack"
            | "stack_info"
            | "cr_origin"
            | "_source_traceback" as attr
        ):
            return f"looks at who calls it: .{attr}"
        case ast.Attribute(attr="load_module"):
            return "loads code in an unusual way: .load_module"
        case ast.Name() | ast.Attribute():
            return _named(source, node) or _passed_on(source, node)
        case ast.Call():
            return _called(source, node) or put_together(source, node)
        case ast.BinOp() | ast.JoinedStr() | ast.Subscript():
            return put_together(source, node)
        case ast.AnnAssign(annotation=ast.Constant(value=str() as text)):
            return _in_annotation(text)
        case ast.arg(annotation=ast.Constant(value=str() as text)):
            return _in_annotation(text)
        case ast.FunctionDef(returns=ast.Constant(value=str() as text)):
            return _in_annotation(text)
    return ""


def put_together(source: ParsedFile, node: ast.expr) -> str:
    """A name that is put together from parts that are all written down, so that nobody finds it."""
    text = source.folding.text(node)
    if not text:
        return ""
    if text in _BY_STRING or _INTO_PROGRAMS.fullmatch(text) or _MEMORY.search(text):
        return f"puts a name together: {text[:40]!r}"
    above = source.parents.get(node)
    asks = isinstance(above, ast.Call) and source.names.dotted(above.func) in _BY_NAME and node in above.args[1:2]
    return f"puts a name together: {text[:40]!r}" if asks else ""


def _in_annotation(text: str) -> str:
    """Code in an annotation, which runs when somebody asks for its value."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    names = {each.id for each in nodes if isinstance(each, ast.Name)}
    runs = any(isinstance(each, ast.Call | ast.comprehension | ast.Lambda) for each in nodes)
    code = not names.isdisjoint(_RUNS_CODE) or (runs and "Annotated" not in text)
    return f"has code in an annotation: {text[:40]!r}" if code else ""


def _search_path(source: ParsedFile, node: ast.expr, name: str) -> bool:
    """Whether something changes where modules are loaded from, other than by a method of the list."""
    above = source.parents.get(node)
    match above:
        case ast.Assign(targets=targets, value=value) if node in targets:
            return "extend_path" not in ast.unparse(value)
        case ast.Call(func=func, args=args) if node in args:
            return source.names.dotted(func).rpartition(".")[2] not in _ONLY_READS
    return name == "__path__" and isinstance(above, ast.Attribute | ast.AugAssign)


def _passed_on(source: ParsedFile, node: ast.Name | ast.Attribute) -> str:
    """A module, or what reaches names, that is handed to others: its new name says nothing."""
    above = source.parents.get(node)
    if not isinstance(node.ctx, ast.Load) or isinstance(above, ast.Attribute):
        return ""
    called = above if isinstance(above, ast.Call) else None
    name = source.names.dotted(node)
    if name in _REACHES:
        made = called is not None and called.func is node
        return "" if made or _is_argument(source, node) else f"hands on what reaches any name: {name}"
    top, last = name.partition(".")[0], name.rpartition(".")[2]
    root = node
    while isinstance(root, ast.Attribute) and isinstance(root.value, ast.Name | ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name) or root.id not in source.names.imported or _is_argument(source, root):
        return ""
    asked = called is not None and source.names.dotted(called.func) in _ASKS and called.args[:1] == [node]
    given = called is not None and called.func is not node and name in _STANDARD_LIBRARY
    below = last not in (name, top) and (top in _STANDARD_LIBRARY or last in {"sys", "os", "builtins"})
    carried = last in CARRIED and (name == last or below)
    return f"hands on a module: {name}" if (given or carried) and not asked else ""


def _is_argument(source: ParsedFile, node: ast.AST) -> bool:
    """Whether a name is an argument of a function around it. Its default is not."""
    name = getattr(node, "id", "")
    if isinstance(source.parents.get(node), ast.arguments):
        return False
    around = [each for each in source.above(node) if isinstance(each, _FUNCTIONS)]
    given = [part for each in around for part in (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)]
    return any(each.arg == name for each in given)


def _private(module: str) -> bool:
    top = module.split(".", maxsplit=1)[0]
    return top.startswith("_") and not top.startswith("__") and top in _STANDARD_LIBRARY


def _private_part(source: ParsedFile, name: str) -> bool:
    """Whether a dotted name is of something that a module of the standard library keeps to itself. Types are not
    meant: a program may need their names."""
    top, *below = name.split(".")
    if top not in _STANDARD_LIBRARY or top not in {each.split(".")[0] for each in source.names.sources}:
        return False
    return any(part[:1] == "_" and part[1:2].islower() for part in below)


def _named(source: ParsedFile, node: ast.expr) -> str:
    name = source.names.dotted(node)
    match node:
        case ast.Attribute(attr="__dict__", value=ast.Name(id=root)) if root in source.names.modules:
            if not source.ours(source.names.dotted(node.value)):
                return f"reaches into a module: {ast.unparse(node)}"
        case ast.Attribute(attr="__self__" | "__getattribute__", value=value):
            owner = source.names.dotted(value).partition(".")[0]
            module = owner in _STANDARD_LIBRARY and owner in source.names.sources
            if module or (owner in _BUILTINS and node.attr == "__self__"):
                return f"reaches into a module: {ast.unparse(node)}"
    if name in ("sys.path", "__path__") and _search_path(source, node, name):
        return f"loads code in an unusual way: {name}"
    if _private_part(source, name):
        return f"a private part of the standard library: {name}"
    if name in _READS:
        return f"reads files where nothing watches it: {name}"
    if name in _WATCHES or name.split(".")[0] == "tracemalloc":
        return f"watches or finds what others run: {name}"
    if name in _RAW_WRITES and not _opened_here(source, node):
        return f"writes to a file by its number: {name}"
    if name in {"sys.argv", "sys.orig_argv"} and not in_script(source, node):
        return f"depends on the command that runs it: {name}"
    return ""


def _opened_here(source: ParsedFile, node: ast.expr) -> bool:
    """Whether ``os.fdopen`` is given what the same file has opened or made."""
    match source.parents.get(node):
        case ast.Call(func=func, args=[ast.Name(id=number), *_]) if (
            func is node and source.names.dotted(node) == "os.fdopen"
        ):
            given = [
                each
                for each in ast.walk(source.tree)
                if isinstance(each, ast.Name) and each.id == number and isinstance(each.ctx, ast.Store)
            ]
            return bool(given) and all(_opens(source, each) for each in given)
    return False


def _opens(source: ParsedFile, name: ast.Name) -> bool:
    above = source.parents.get(name)
    if isinstance(above, ast.Tuple) and above.elts[0] is name:
        above = source.parents.get(above)
    value = above.value if isinstance(above, ast.Assign) else None
    return isinstance(value, ast.Call) and source.names.dotted(value.func) in ("os.open", "tempfile.mkstemp")


def in_script(source: ParsedFile, node: ast.AST) -> bool:
    """Whether it is in what a command line starts: a function with such a name, or under ``__main__``."""
    return any(
        (isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith(_SCRIPT_NAMES))
        or (isinstance(each, ast.If) and "__main__" in ast.unparse(each.test))
        for each in source.above(node)
    )


def _called(source: ParsedFile, node: ast.Call) -> str:
    name = source.names.dotted(node.func)
    if name in _DETOURS and not all(_harmless(each) for each in node.args):
        return f"reaches a name that is made at run time: {name}"
    if name in _MEMBERS and node.args and _is_module(source, node.args[0]):
        return f"reaches into a module: {ast.unparse(node)}"
    if name in _LOADERS and any(_has_data(source, each) for each in node.args):
        return f"loads code in an unusual way: {name}"
    if name in _RUNNERS:
        return f"loads code in an unusual way: {name}"
    if name == "warnings.catch_warnings" and any(each.arg == "record" for each in node.keywords):
        return "looks at who calls it: warnings.catch_warnings"
    if name in {"open", "builtins.open", "io.open"} and node.args and _is_number(node.args[0]):
        return "writes to a file by its number: open"
    return ""


def _is_module(source: ParsedFile, node: ast.expr) -> bool:
    """Whether an expression names a module of the standard library."""
    name = source.names.dotted(node)
    return bool(name) and name in source.names.sources and name.split(".")[0] in _STANDARD_LIBRARY


def _harmless(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.startswith("_")


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value > 2


def _has_data(source: ParsedFile, node: ast.expr) -> bool:
    """Whether what is loaded is written in the file: it has a literal, or a name of one."""
    literals = {
        target.id
        for each in source.tree.body
        if isinstance(each, ast.Assign) and _is_data(each.value)
        for target in each.targets
        if isinstance(target, ast.Name)
    }
    return any(_is_data(each) or (isinstance(each, ast.Name) and each.id in literals) for each in ast.walk(node))


def _is_data(node: ast.AST) -> bool:
    if not isinstance(node, ast.Constant):
        return False
    return isinstance(node.value, bytes) or (isinstance(node.value, str) and len(node.value) > 20)
