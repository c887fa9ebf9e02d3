"""What the scan looks for in Go. Pure."""

from __future__ import annotations

import re
from typing import Final

from gates.layers.script_detours import answers_certain, go_where, put_together
from gates.layers.syntax import (
    ANSWERS,
    CALLERS,
    COMMANDS,
    ENDS,
    FRAMEWORK,
    FUNCTIONS,
    HERE,
    LISTS,
    LOADS,
    PATCHES,
    READERS,
    READS,
    SAME,
    SKIPS,
    WHERE,
    Node,
    Rule,
    ScannedFile,
    names_tests,
    text,
    walk,
    word,
)

_GO_NAMES: Final = {
    **dict.fromkeys(
        ("syscall.Exit", "syscall.Exec", "syscall.Kill", "runtime.Goexit", "syscall.RawSyscall", "syscall.Syscall"),
        ENDS,
    ),
    **dict.fromkeys(
        ("runtime.Caller", "runtime.Callers", "runtime.CallersFrames", "runtime.FuncForPC", "runtime.Stack",
         "runtime.GoroutineProfile", "runtime.ThreadCreateProfile", "runtime/debug.Stack",
         "runtime/debug.PrintStack", "runtime/debug.WriteHeapDump", "runtime/debug.SetCrashOutput",
         "runtime/pprof.Lookup", "runtime/pprof.Profiles", "runtime/trace.Start", "expvar.Get", "expvar.Do",
         "testing.Testing", "runtime.NumGoroutine", "flag.Parsed",
         "runtime/metrics.Read", "runtime.ReadTrace", "runtime.MemProfile", "runtime.BlockProfile",
         "runtime.MutexProfile", "runtime.CPUProfile", "net/http/pprof.Handler", "net/http/pprof.Index"), CALLERS
    ),
    **dict.fromkeys(
        ("syscall.Mprotect", "syscall.Mmap", "syscall.PtraceAttach", "os.Getppid", "reflect.SliceHeader",
         "reflect.StringHeader", "reflect.NewAt"), PATCHES
    ),
    **dict.fromkeys(("flag.Set", "flag.Lookup", "flag.CommandLine"), FRAMEWORK),
}  # fmt: skip
_GO_IN_INIT: Final = {**dict.fromkeys(("os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln"), ENDS)}
_GO_ASSIGNED: Final = frozenset({"os.Args", "os.Stdout", "os.Stderr", "os.Stdin", "flag.CommandLine", "flag.Usage"})
_GO_IMPORTS: Final = {"unsafe": PATCHES, "plugin": LOADS, "C": LOADS}
_GO_DIRECTIVE: Final = re.compile(r"^//go:(linkname|cgo_\w+)\b")
_GO_EMBEDS: Final = re.compile(r"^//go:embed\s.*(_test|test_|\.go\b|\*\.\w|(^|\s)(all:)?(\*|\.)(\s|$))")
_GO_SOURCES: Final = re.compile(r"^(.*\*)?\.go$")
#: Files of any kind in the directory where it works.
_GO_ANY: Final = re.compile(r"(\./)?[^/]*[*?\[]([^/.]*|[^/]*\.[^/]*[*?\[][^/]*)\Z")
_GO_LISTS: Final = frozenset(
    {
        "os.ReadDir",
        "os.DirFS",
        "io/ioutil.ReadDir",
        "path/filepath.Glob",
        "path/filepath.Walk",
        "path/filepath.WalkDir",
    }
)
#: What says in which directory a program works, and what opens that.
_GO_WHERE: Final = frozenset({"os.Getwd", "syscall.Getwd", "syscall.Getcwd", "path/filepath.Abs"})
_GO_OPENS: Final = frozenset({"os.Open", "os.OpenFile", "os.OpenRoot", "syscall.Open"})
_GO_ENTRIES: Final = ("ReadDir", "Readdir", "Readdirnames", "FS")
#: What shows the flags that a test binary has: the command's own package may ask.
_GO_FLAGS: Final = frozenset({"flag.VisitAll", "flag.Visit", "flag.NFlag", "flag.PrintDefaults", "flag.Usage"})
#: What says which program runs: the command's own package may ask.
_GO_PROGRAM: Final = frozenset({"os.Args", "os.Executable", "runtime/debug.ReadBuildInfo"})


_PACKAGE: Final = "package"


def learn_go(source: ScannedFile, node: Node) -> None:
    """Notes what a local name stands for."""
    if node.type == "import_spec":
        path, alias = word(node.child_by_field_name("path")), text(node.child_by_field_name("name"))
        source.names[alias or path.rpartition("/")[2]] = path
    elif node.type == "package_clause" and node.named_children:
        source.names[_PACKAGE] = text(node.named_children[0])
    elif node.type == "call_expression":
        name, given = _go_name(source, node.child_by_field_name("function")), node.child_by_field_name("arguments")
        first = given.named_children[0] if given is not None and given.named_children else None
        source.asks_where |= name in _GO_WHERE or (name in _GO_OPENS and word(first) in HERE)


def _go_name(source: ScannedFile, node: Node | None) -> str:
    if node is None or node.type != "selector_expression":
        return ""
    of, name = text(node.child_by_field_name("operand")), text(node.child_by_field_name("field"))
    return f"{source.names[of]}.{name}" if of in source.names else ""


def _go_names(source: ScannedFile, node: Node) -> str:
    name = _go_name(source, node)
    if node.type == "qualified_type":
        of = source.names.get(text(node.child_by_field_name("package")), "")
        name = f"{of}.{text(node.child_by_field_name('name'))}"
    if not name:
        return ""
    why = _GO_NAMES.get(name, "")
    if source.test:
        return why if why in (ENDS, CALLERS) and not name.startswith("testing.") else ""
    return why or (_GO_IN_INIT.get(name, "") if _at_start(node) else "")


def _at_start(node: Node) -> bool:
    """Whether it runs when the package is loaded."""
    above = node.parent
    while above is not None and above.type not in ("function_declaration", "method_declaration"):
        above = above.parent
    return above is None or text(above.child_by_field_name("name")) == "init"


def _go_assigns(source: ScannedFile, node: Node) -> str:
    if node.type != "assignment_statement" or source.test:
        return ""
    left = node.child_by_field_name("left")
    names = [_go_name(source, each) for each in (left.named_children if left is not None else ())]
    return PATCHES if _GO_ASSIGNED.intersection(names) else ""


def _go_imports(source: ScannedFile, node: Node) -> str:
    if node.type != "import_spec" or source.test:
        return ""
    path, alias = word(node.child_by_field_name("path")), text(node.child_by_field_name("name"))
    if path == "testing" or path.startswith("testing/"):
        return FRAMEWORK
    return _GO_IMPORTS.get(path, LOADS if alias == "." else "")


def _go_directives(source: ScannedFile, node: Node) -> str:
    if node.type != "comment":
        return ""
    if not source.test and _GO_EMBEDS.match(text(node)):
        return READS
    return PATCHES if _GO_DIRECTIVE.match(text(node)) else ""


def _go_reads(source: ScannedFile, node: Node) -> str:
    """Ways to the text of the tests that name none, and what says which program runs."""
    if source.test:
        return ""
    if node.type in ("interpreted_string_literal", "raw_string_literal"):
        return READS if _GO_SOURCES.match(word(node)) else ""
    if node.type == "selector_expression":
        if text(node.child_by_field_name("field")) in ("UnsafePointer", "UnsafeAddr"):
            return PATCHES
        if source.names.get(_PACKAGE) == "main":
            return ""
        name = _go_name(source, node)
        if name == "net/http.DefaultServeMux" and "net/http/pprof" in source.names.values():
            return CALLERS
        return CALLERS if name in _GO_PROGRAM else FRAMEWORK if name in _GO_FLAGS else ""
    if node.type != "call_expression":
        return ""
    function, given = node.child_by_field_name("function"), node.child_by_field_name("arguments")
    name, words = (
        _go_name(source, function),
        [word(each) for each in given.named_children] if given is not None else [],
    )
    if (
        text(function).endswith(".Output")
        and len(words) == 2
        and words[0] != "1"
        and "log" in source.names.values()
    ):
        return CALLERS  # a logger's, with the depth of the caller whose place it says
    literals = (
        [word(each) if each.type.endswith("string_literal") else "" for each in given.named_children]
        if given
        else []
    )
    if source.names.get(_PACKAGE) != "main" and (go_where(source, name, literals) or _of_day(node)):
        return WHERE
    if name in ("os/exec.Command", "os/exec.CommandContext") and any(map(READERS.search, words[:2])):
        return COMMANDS
    if source.asks_where:  # by a name for where it works
        literal = given is not None and any(each.type.endswith("string_literal") for each in given.named_children)
        of_open = function is not None and function.type == "selector_expression" and not name
        if of_open and text(function.child_by_field_name("field")) in _GO_ENTRIES:
            return LISTS
        if name in _GO_LISTS and not literal:
            return LISTS
    if name == "path/filepath.Glob" and literals and _GO_ANY.match(literals[0]):
        return LISTS
    return LISTS if name in _GO_LISTS and words and words[0] in HERE else ""


def _of_day(node: Node) -> bool:
    """Whether the present is compared with a time that is written down."""
    called, given = text(node.child_by_field_name("function")), text(node.child_by_field_name("arguments"))
    return bool(re.search(r"\.(Before|After|Compare)\Z", called)) and any(
        "time.Now()" in now and re.search(r"time\.(Date|Unix)\(\d", then)
        for now, then in ((called, given), (given, called))
    )


def _go_same(source: ScannedFile, node: Node) -> str:
    """A comparison that says yes to everything: ``errors.Is`` asks an error for one."""
    if source.test or node.type != "method_declaration":
        return ""
    name, body = text(node.child_by_field_name("name")), node.child_by_field_name("body")
    if name not in ("Is", "As", "Equal", "Eq", "Equals", "Less", "Compare") or body is None:
        return ""
    answers = [each for each in walk(body) if each.type == "return_statement"]
    fixed = all(text(each) in ("return true", "return 0") for each in answers)
    return SAME if answers and fixed else ""


def _go_table(source: ScannedFile, node: Node) -> str:
    """Several arguments as one key of a map that is written down."""
    if source.test or node.type != "index_expression":
        return ""
    if text(node.child_by_field_name("operand")) not in source.tables:
        return ""
    index = node.child_by_field_name("index")
    parts = [each for each in walk(index) if each.type == "identifier"] if index is not None else []
    made = index is not None and (index.type == "composite_literal" or text(index).startswith("fmt.Sprint"))
    names = {text(each) for each in parts} - {"fmt"}
    return ANSWERS if made and len(names) > 1 else ""


def _go_tests(source: ScannedFile, node: Node) -> str:
    if not source.test:
        return ""
    if node.type == "function_declaration":
        return FRAMEWORK if text(node.child_by_field_name("name")) == "TestMain" else ""
    if node.type == "call_expression":
        function = node.child_by_field_name("function")
        if function is not None and function.type == "selector_expression":
            name, of = (text(function.child_by_field_name(each)) for each in ("field", "operand"))
            skips = name in ("Skip", "Skipf", "SkipNow") and of in ("t", "b", "tb", "f", "s")
            return SKIPS if skips and not _on_condition(node) else ""
    return ""


def _on_condition(node: Node) -> bool:
    """Whether it is in a branch, as a skip of what a machine cannot do is."""
    above = node.parent
    while above is not None and above.type not in FUNCTIONS:
        if above.type in ("if_statement", "expression_case", "type_case"):
            return True
        above = above.parent
    return False


GO_RULES: Final[tuple[Rule, ...]] = (
    _go_names,
    _go_assigns,
    _go_imports,
    _go_directives,
    _go_tests,
    _go_reads,
    _go_same,
    _go_table,
    names_tests,
    put_together,
    answers_certain,
)
