"""What the scan looks for in Go. Pure."""

from __future__ import annotations

import re
from typing import Final

from gates.layers.parsed import by_name, names_in
from gates.layers.script_detours import DECIDES, PUT_TOGETHER, answers_certain, go_where, put_together
from gates.layers.syntax import (
    FUNCTIONS,
    HERE,
    READERS,
    STRINGS,
    In,
    Node,
    Rule,
    ScannedFile,
    Why,
    arguments,
    children,
    first_of,
    names_tests,
    part,
    text,
    walk,
    word,
)

_GO_NAMES: Final = by_name(
    {
        Why.ENDS: "syscall.Exit syscall.Exec syscall.Kill runtime.Goexit syscall.RawSyscall syscall.Syscall",
        Why.CALLERS: (
            "runtime.Caller runtime.Callers runtime.CallersFrames runtime.FuncForPC runtime.Stack"
            " runtime.GoroutineProfile runtime.ThreadCreateProfile runtime/debug.Stack runtime/debug.PrintStack"
            " runtime/debug.WriteHeapDump runtime/debug.SetCrashOutput runtime/pprof.Lookup runtime/pprof.Profiles"
            " runtime/trace.Start expvar.Get expvar.Do testing.Testing runtime.NumGoroutine flag.Parsed"
            " runtime/metrics.Read runtime.ReadTrace runtime.MemProfile runtime.BlockProfile runtime.MutexProfile"
            " runtime.CPUProfile net/http/pprof.Handler net/http/pprof.Index"
        ),
        Why.PATCHES: (
            "syscall.Mprotect syscall.Mmap syscall.PtraceAttach os.Getppid reflect.SliceHeader"
            " reflect.StringHeader reflect.NewAt"
        ),
        Why.FRAMEWORK: "flag.Set flag.Lookup flag.CommandLine",
    }
)
_GO_IN_INIT: Final = names_in("os.Exit log.Fatal log.Fatalf log.Fatalln")
_GO_ASSIGNED: Final = frozenset({"os.Args", "os.Stdout", "os.Stderr", "os.Stdin", "flag.CommandLine", "flag.Usage"})
_GO_IMPORTS: Final = {"unsafe": Why.PATCHES, "plugin": Why.LOADS, "C": Why.LOADS}
_GO_DIRECTIVE: Final = re.compile(r"^//go:(linkname|cgo_\w+)\b")
_GO_EMBEDS: Final = re.compile(r"^//go:embed\s.*(_test|test_|\.go\b|\*\.\w|(^|\s)(all:)?(\*|\.)(\s|$))")
_GO_SOURCES: Final = re.compile(r"^(.*\*)?\.go$")
#: Files of any kind in the directory where it works.
_GO_ANY: Final = re.compile(r"(\./)?[^/]*[*?\[]([^/.]*|[^/]*\.[^/]*[*?\[][^/]*)\Z")
_GO_LISTS: Final = names_in(
    "os.ReadDir os.DirFS io/ioutil.ReadDir path/filepath.Glob path/filepath.Walk path/filepath.WalkDir"
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
    match node.type:
        case "import_spec":
            path, alias = word(part(node, "path")), text(part(node, "name"))
            source.names[alias or path.rpartition("/")[2]] = path
        case "package_clause":
            source.names[_PACKAGE] = text(first_of(children(node)))
        case "call_expression":
            name, first = _go_name(source, part(node, "function")), first_of(arguments(node))
            source.asks_where |= name in _GO_WHERE or (name in _GO_OPENS and word(first) in HERE)


def _go_name(source: ScannedFile, node: Node | None) -> str:
    of, name = text(part(node, "operand")), text(part(node, "field"))
    return f"{source.names[of]}.{name}" if name and of in source.names else ""


def _go_names(source: ScannedFile, node: Node) -> str:
    name = _go_name(source, node)
    if node.type == "qualified_type":
        name = f"{source.names.get(text(part(node, 'package')), '')}.{text(part(node, 'name'))}"
    why = _GO_NAMES.get(name, "")
    if source.test:
        return why if why in (Why.ENDS, Why.CALLERS) and not name.startswith("testing.") else ""
    return why or (Why.ENDS if name in _GO_IN_INIT and _at_start(node) else "")


def _at_start(node: Node) -> bool:
    """Whether it runs when the package is loaded."""
    above = node.parent
    while above is not None and above.type not in ("function_declaration", "method_declaration"):
        above = above.parent
    return above is None or text(part(above, "name")) == "init"


def _go_assigns(source: ScannedFile, node: Node) -> str:
    names = [_go_name(source, each) for each in children(part(node, "left"))]
    return Why.PATCHES if _GO_ASSIGNED.intersection(names) else ""


def _go_imports(_source: ScannedFile, node: Node) -> str:
    path, alias = word(part(node, "path")), text(part(node, "name"))
    if path == "testing" or path.startswith("testing/"):
        return Why.FRAMEWORK
    return _GO_IMPORTS.get(path, Why.LOADS if alias == "." else "")


def _go_directives(source: ScannedFile, node: Node) -> str:
    if not source.test and _GO_EMBEDS.match(text(node)):
        return Why.READS
    return Why.PATCHES if _GO_DIRECTIVE.match(text(node)) else ""


def _go_strings(_source: ScannedFile, node: Node) -> str:
    return Why.READS if _GO_SOURCES.match(word(node)) else ""


def _go_asks(source: ScannedFile, node: Node) -> str:
    """What says which program runs, or reaches its memory."""
    if text(part(node, "field")) in ("UnsafePointer", "UnsafeAddr"):
        return Why.PATCHES
    if source.names.get(_PACKAGE) == "main":
        return ""
    name = _go_name(source, node)
    if name == "net/http.DefaultServeMux" and "net/http/pprof" in source.names.values():
        return Why.CALLERS
    return Why.CALLERS if name in _GO_PROGRAM else Why.FRAMEWORK if name in _GO_FLAGS else ""


def _go_reads(source: ScannedFile, node: Node) -> str:
    """Ways to the text of the tests that name none."""
    function, given = part(node, "function"), arguments(node)
    name, words = _go_name(source, function), [word(each) for each in given]
    of_log = text(function).endswith(".Output") and "log" in source.names.values()
    if of_log and len(words) == 2 and words[0] != "1":
        return Why.CALLERS  # a logger's, with the depth of the caller whose place it says
    literals = [word(each) if each.type.endswith("string_literal") else "" for each in given]
    if source.names.get(_PACKAGE) != "main" and (go_where(source, name, literals) or _of_day(node)):
        return Why.WHERE
    if name in ("os/exec.Command", "os/exec.CommandContext") and any(map(READERS.search, words[:2])):
        return Why.COMMANDS
    if source.asks_where:  # by a name for where it works
        if not name and text(part(function, "field")) in _GO_ENTRIES:
            return Why.LISTS
        if name in _GO_LISTS and not any(each.type.endswith("string_literal") for each in given):
            return Why.LISTS
    if name == "path/filepath.Glob" and literals and _GO_ANY.match(literals[0]):
        return Why.LISTS
    return Why.LISTS if name in _GO_LISTS and words and words[0] in HERE else ""


def _of_day(node: Node) -> bool:
    """Whether the present is compared with a time that is written down."""
    called, given = text(part(node, "function")), text(part(node, "arguments"))
    return bool(re.search(r"\.(Before|After|Compare)\Z", called)) and any(
        "time.Now()" in now and re.search(r"time\.(Date|Unix)\(\d", then)
        for now, then in ((called, given), (given, called))
    )


def _go_same(_source: ScannedFile, node: Node) -> str:
    """A comparison that says yes to everything: ``errors.Is`` asks an error for one."""
    if text(part(node, "name")) not in ("Is", "As", "Equal", "Eq", "Equals", "Less", "Compare"):
        return ""
    answers = [text(each) for each in walk(part(node, "body")) if each.type == "return_statement"]
    return Why.SAME if answers and {"return true", "return 0"}.issuperset(answers) else ""


def _go_table(source: ScannedFile, node: Node) -> str:
    """Several arguments as one key of a map that is written down."""
    index = part(node, "index")
    if index is None or text(part(node, "operand")) not in source.tables:
        return ""
    names = {text(each) for each in walk(index) if each.type == "identifier"} - {"fmt"}
    made = index.type == "composite_literal" or text(index).startswith("fmt.Sprint")
    return Why.ANSWERS if made and len(names) > 1 else ""


def _go_main(_source: ScannedFile, node: Node) -> str:
    return Why.FRAMEWORK if text(part(node, "name")) == "TestMain" else ""


def _go_skips(_source: ScannedFile, node: Node) -> str:
    function = part(node, "function")
    name, of = text(part(function, "field")), text(part(function, "operand"))
    skips = name in ("Skip", "Skipf", "SkipNow") and of in ("t", "b", "tb", "f", "s")
    return Why.SKIPS if skips and not _on_condition(node) else ""


def _on_condition(node: Node) -> bool:
    """Whether it is in a branch, as a skip of what a machine cannot do is."""
    above = node.parent
    while above is not None and above.type not in FUNCTIONS:
        if above.type in ("if_statement", "expression_case", "type_case"):
            return True
        above = above.parent
    return False


GO_RULES: Final = (
    Rule(_go_names, "selector_expression qualified_type", In.BOTH),
    Rule(_go_assigns, "assignment_statement"),
    Rule(_go_imports, "import_spec"),
    Rule(_go_directives, "comment", In.BOTH),
    Rule(_go_main, "function_declaration", In.TESTS),
    Rule(_go_skips, "call_expression", In.TESTS),
    Rule(_go_strings, "interpreted_string_literal raw_string_literal"),
    Rule(_go_asks, "selector_expression"),
    Rule(_go_reads, "call_expression"),
    Rule(_go_same, "method_declaration"),
    Rule(_go_table, "index_expression"),
    Rule(names_tests, STRINGS),
    Rule(put_together, PUT_TOGETHER),
    Rule(answers_certain, DECIDES),
)
