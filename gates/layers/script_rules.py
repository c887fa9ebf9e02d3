"""What the scan looks for in JavaScript and TypeScript. Pure."""

from __future__ import annotations

import re
from typing import Final

from gates.layers.script_detours import answers_certain, put_together, script_circumstances, script_passes_on
from gates.layers.script_inside import (
    NEW_ERROR,
    answers_by_text,
    caller_is_asked,
    learn_stack,
    main_is_asked,
    process_is_asked,
    same_whatever,
    shows_stack,
    spelled_by_numbers,
    stack_is_examined,
)
from gates.layers.syntax import (
    CALLERS,
    COMMANDS,
    ENDS,
    FRAMEWORK,
    HERE,
    HIDES,
    LATER,
    LISTS,
    LOADS,
    PATCHES,
    READERS,
    READS,
    SKIPS,
    Node,
    Rule,
    ScannedFile,
    inside,
    names_tests,
    text,
    walk,
    word,
)

_JS_NAMES: Final = {
    **dict.fromkeys(("process.reallyExit", "process.abort", "process.kill"), ENDS),
    **dict.fromkeys(
        ("Error.captureStackTrace", "Error.prepareStackTrace", "Error.stackTraceLimit", "arguments.callee",
         "util.getCallSite", "util.getCallSites", "process.mainModule", "module.parent", "module.children",
         "process.argv0", "process.title", "async_hooks.executionAsyncResource", "v8.serialize",
         "async_hooks.executionAsyncId", "async_hooks.triggerAsyncId", "console.Console"),
        CALLERS,
    ),
    **dict.fromkeys(
        ("require.cache", "require.extensions", "process.binding", "process.dlopen", "module.constructor", "eval",
         "module._load", "module._extensions", "module._resolveFilename", "module.registerHooks", "module.register",
         "vm.runInThisContext", "vm.runInContext", "vm.Script", "vm.runInNewContext", "module.createRequire",
         "vm.compileFunction", "vm.SourceTextModule", "vm.SyntheticModule", "repl.start",
         "v8.DefaultSerializer", "v8.Serializer", "v8.setFlagsFromString", "process.getBuiltinModule"), LOADS
    ),
    **dict.fromkeys(("process.env.NODE_TEST_CONTEXT", "process.env.NODE_OPTIONS", "process.execArgv"), READS),
    **dict.fromkeys(("inspector.Session", "async_hooks.createHook", "Symbol.toPrimitive"), PATCHES),
}  # fmt: skip
_JS_EVENTS: Final = frozenset({"exit", "beforeExit", "uncaughtException", "unhandledRejection"})
_JS_LISTEN: Final = frozenset({"on", "once", "addListener", "prependListener", "prependOnceListener", "emit"})
_JS_TESTS: Final = frozenset({"test", "assert", "assert.strict", "test.reporters"})
_JS_BUILTINS: Final = frozenset(
    {"Object", "Array", "Function", "String", "Number", "JSON", "Math", "Promise", "Error"}
)
_JS_GLOBALS: Final = frozenset({"globalThis", "global", "console", "process", "Reflect", *_JS_BUILTINS})
_JS_FUNCTIONS: Final = frozenset({"function_declaration", "function_expression"})
_JS_COPIES: Final = frozenset({"Object.assign", "structuredClone", "Object.fromEntries"})
#: What a program of another name is told: to run text as code, or to load more before it runs.
_JS_CODE: Final = frozenset(
    {"-e", "--eval", "-p", "--print", "-pe", "--import", "--require", "-r", "--input-type=module"}
)
_JS_PROTOTYPE: Final = re.compile(
    r"(Object|Reflect)\.getPrototypeOf\(|.*\.(__proto__|constructor\.prototype)$", re.DOTALL
)
_JS_SKIPS: Final = frozenset({"skip", "todo", "only", "failing"})
#: What a name of the directory where a program is or works stands for.
_HERE: Final = "<here>"
_EXPRESSIONS: Final = ("member_expression", "call_expression", "new_expression", "identifier")
_SHORT: Final = 300
_JS_RUNNERS: Final = frozenset({"test", "it", "describe", "suite", "t"})


def _module(name: str) -> str:
    return name.removeprefix("node:").replace("/", ".")


def _required(node: Node | None) -> str:
    """The module of ``require('m')``, or of a property of it; empty: it is none."""
    if node is None:
        return ""
    if node.type == "member_expression":
        inner = _required(node.child_by_field_name("object"))
        return f"{inner}.{text(node.child_by_field_name('property'))}" if inner else ""
    if node.type == "await_expression" and node.named_children:
        return _required(node.named_children[0])
    if node.type != "call_expression" or text(node.child_by_field_name("function")) not in ("require", "import"):
        return ""
    given = node.child_by_field_name("arguments")
    return _module(word(given.named_children[0])) if given is not None and given.named_children else ""


def learn_script(source: ScannedFile, node: Node) -> None:
    """Notes what a local name stands for."""
    learn_stack(source, node)
    if node.type in _JS_FUNCTIONS:
        source.functions.add(text(node.child_by_field_name("name")))
    elif node.type == "variable_declarator":
        value, name = node.child_by_field_name("value"), node.child_by_field_name("name")
        stands_for = _required(value) or (_dotted(source, value) if value is not None else "")
        if value is not None and value.type == "new_expression":
            made = text(value.child_by_field_name("constructor"))
            stands_for = NEW_ERROR if made.endswith("Error") else ""
        if value is not None and value.type in _JS_FUNCTIONS and name is not None:
            source.functions.add(text(name))
        short = value is not None and value.type in _EXPRESSIONS and value.end_byte - value.start_byte < _SHORT
        if short and name is not None and name.type == "identifier" and _is_here(source, value):
            source.names.setdefault(text(name), _HERE)
        stands_for = stands_for or _copied(source, value)
        if stands_for and name is not None:
            _learn_names(source, name, stands_for)
    elif node.type == "import_statement":
        module = _module(word(node.child_by_field_name("source")))
        for each in walk(node):
            if each.type == "import_clause" and each.named_children:
                for child in each.named_children:
                    if child.type == "identifier":
                        source.names[text(child)] = module
            elif each.type == "namespace_import" and each.named_children:
                source.names[text(each.named_children[-1])] = module
            elif each.type == "import_specifier":
                name = text(each.child_by_field_name("name"))
                source.names[text(each.child_by_field_name("alias")) or name] = f"{module}.{name}"


def _copied(source: ScannedFile, value: Node | None) -> str:
    """``process.env`` for a copy of it: under its name, all variables could be looked through."""
    if value is None or value.type not in ("object", "call_expression"):
        return ""
    copies = value.type == "object" or text(value.child_by_field_name("function")) in _JS_COPIES
    return "process.env" if copies and any(map(_is_whole_env, walk(value))) else ""


def _is_whole_env(node: Node) -> bool:
    above = node.parent
    whole = above is not None and above.type in ("spread_element", "arguments")
    return node.type == "member_expression" and text(node) == "process.env" and whole


def _learn_names(source: ScannedFile, name: Node, stands_for: str) -> None:
    if name.type == "identifier":
        source.names[text(name)] = stands_for
    elif name.type == "object_pattern":
        for child in name.named_children:
            if child.type == "shorthand_property_identifier_pattern":
                source.names[text(child)] = f"{stands_for}.{text(child)}"
            elif child.type == "pair_pattern":
                key, value = text(child.child_by_field_name("key")), text(child.child_by_field_name("value"))
                source.names[value] = f"{stands_for}.{key}"


def _dotted(source: ScannedFile, node: Node | None) -> str:
    """What an expression names, such as ``process.exit``; empty: nothing that its text shows."""
    if node is None:
        return ""
    if node.type in ("identifier", "property_identifier"):
        return source.names.get(text(node), text(node))
    if node.type == "parenthesized_expression" and node.named_children:
        return _dotted(source, node.named_children[0])
    if node.type == "member_expression":
        inner = _required(node.child_by_field_name("object")) or _dotted(source, node.child_by_field_name("object"))
        return _below(inner, text(node.child_by_field_name("property")))
    if node.type == "subscript_expression":
        index = node.child_by_field_name("index")
        if index is not None and index.type in ("string", "template_string"):
            return _below(_dotted(source, node.child_by_field_name("object")), word(index))
    return ""


def _below(inner: str, name: str) -> str:
    if inner in ("globalThis", "global", "global.process", "globalThis.process"):
        return name if inner in ("globalThis", "global") else f"process.{name}"
    return f"{inner}.{name}" if inner else ""


def _script_names(source: ScannedFile, node: Node) -> str:
    if node.type not in ("member_expression", "subscript_expression", "identifier"):
        return ""
    if node.parent is not None and node.parent.type in ("import_specifier", "variable_declarator", "pair_pattern"):
        declared = node.parent.child_by_field_name("name")
        if declared is not None and declared.id == node.id:
            return ""
    name = _dotted(source, node)
    if name == "process.exit" and not source.test and inside(node) is None:
        return ENDS
    return _JS_NAMES.get(name, "") if not source.test or _JS_NAMES.get(name) in (CALLERS, ENDS) else ""


def _script_calls(source: ScannedFile, node: Node) -> str:
    if node.type == "new_expression":
        made, words = text(node.child_by_field_name("constructor")), text(node.child_by_field_name("arguments"))
        of_text = made.endswith("Worker") and re.search(r"\beval\s*:\s*true", words)
        return LOADS if made == "Function" or of_text else ""
    if node.type == "member_expression" and text(node.child_by_field_name("property")) == "constructor":
        of = text(node.child_by_field_name("object"))
        return LOADS if of.startswith("Object.getPrototypeOf(") or re.search(r"=>|\bfunction\b", of) else ""
    if node.type == "variable_declarator":
        return LOADS if text(node.child_by_field_name("value")) == "Function" else ""
    if node.type != "call_expression":
        return ""
    name, given = _dotted(source, node.child_by_field_name("function")), node.child_by_field_name("arguments")
    first = given.named_children[0] if given is not None and given.named_children else None
    owner, _, method = name.rpartition(".")
    if owner == "process" and method in _JS_LISTEN and word(first) in _JS_EVENTS:
        return LATER
    if name in ("Object.defineProperty", "Object.defineProperties", "Object.assign", "Reflect.set"):
        target = _dotted(source, first)
        shared = _is_shared(source, target) or _JS_PROTOTYPE.match(text(first))
        return PATCHES if not source.test and shared else ""
    if name in ("Function", "setImmediate.constructor") or (
        name == "Reflect.construct" and text(first) == "Function"
    ):
        return LOADS
    said = {word(each) for each in walk(given) if each.type == "string"} if given is not None else set()
    runs_code = name.startswith("child_process.") and re.search(r"execPath|argv0|\b(node|bun|deno)\b", text(first))
    if runs_code and not source.test and not _JS_CODE.isdisjoint(said):
        return LOADS
    if name == "fs.fstatSync" and first is not None and first.type == "number" and not source.test:
        return CALLERS
    if (
        source.test
        and method in _JS_SKIPS
        and (owner in _JS_RUNNERS or owner.startswith(("test", "jest", "vitest")))
    ):
        return SKIPS
    return ""


def _is_shared(source: ScannedFile, name: str) -> bool:
    """Whether others use it as well: a module that is imported, or part of the language."""
    top = name.partition(".")[0]
    imported = any(name == each or name.startswith(f"{each}.") for each in source.names.values() if each)
    own = top.startswith(".") or name.startswith((".", "module.exports", "exports"))
    return (
        bool(name) and not own and (top in _JS_GLOBALS or (imported and top in _JS_TESTS | {"fs", "module", "vm"}))
    )


def _script_assigns(source: ScannedFile, node: Node) -> str:
    if node.type not in ("assignment_expression", "augmented_assignment_expression"):
        return ""
    left = node.child_by_field_name("left")
    if left is None or left.type not in ("member_expression", "subscript_expression"):
        return ""
    if _required(left.child_by_field_name("object")):
        return PATCHES
    if _JS_PROTOTYPE.match(text(left.child_by_field_name("object"))) and not source.test:
        return PATCHES
    name = _dotted(source, left) or _dotted(source, left.child_by_field_name("object"))
    if name == "process.exitCode":
        return ENDS if not source.test and inside(node) is None else ""
    return PATCHES if _is_shared(source, name) else ""


def _script_imports(source: ScannedFile, node: Node) -> str:
    if source.test:
        return ""
    module = ""
    if node.type == "import_statement":
        module = _module(word(node.child_by_field_name("source")))
    elif node.type == "call_expression":
        module = _required(node)
    if module.startswith(("data:", "blob:")):
        return LOADS
    return FRAMEWORK if module in ("test", "test.reporters", "vitest", "jest", "mocha") else ""


def _script_hides(source: ScannedFile, node: Node) -> str:
    """A name in escapes, or one that is put together at run time to reach part of the language."""
    if node.type in ("identifier", "property_identifier", "shorthand_property_identifier_pattern"):
        return HIDES if "\\" in text(node) else ""
    if source.test or node.type != "subscript_expression":
        return ""
    index, of = node.child_by_field_name("index"), _dotted(source, node.child_by_field_name("object"))
    made = index is not None and index.type not in ("string", "number")
    if made and of in ("process", "globalThis", "global", "Error", "module", "require"):
        return LOADS
    return HIDES if index is not None and _is_put_together(index) else ""


def _script_reads(source: ScannedFile, node: Node) -> str:
    """Ways to the text of the tests that name none: a list of files, a command, all variables."""
    if source.test or node.type != "call_expression":
        return ""
    given = node.child_by_field_name("arguments")
    first = given.named_children[0] if given is not None and given.named_children else None
    name = _dotted(source, node.child_by_field_name("function"))
    if name in ("util.inspect", "util.format") and shows_stack(node, given):
        return CALLERS
    if name.startswith("child_process.") and READERS.search(word(first)):
        return COMMANDS
    if name.rpartition(".")[2] in (
        "readdir",
        "readdirSync",
        "opendir",
        "opendirSync",
        "glob",
        "globSync",
        "cpSync",
    ):
        return LISTS if word(first) in HERE or "recursive" in text(given) or _is_here(source, first) else ""
    lists_variables = name in ("Object.keys", "Object.entries", "Reflect.ownKeys", "JSON.stringify")
    if not lists_variables or first is None:
        return ""
    return READS if any(_dotted(source, each) == "process.env" and _whole(each) for each in walk(first)) else ""


def _whole(node: Node) -> bool:
    """Whether it is all of an object, and not a part that is asked for."""
    above = node.parent
    return above is None or above.type not in ("member_expression", "subscript_expression")


def _is_here(source: ScannedFile, node: Node | None) -> bool:
    """An expression for where the program is or works, and nothing below that."""
    if node is None or any(
        each.type in ("string", "template_string") and word(each) not in HERE for each in walk(node)
    ):
        return False
    if any(each.type == "identifier" and source.names.get(text(each)) == _HERE for each in walk(node)):
        return True
    return any(
        each in text(node) for each in ("path.resolve()", "__dirname", "__filename", "process.cwd()", "import.meta")
    )


def _is_put_together(node: Node) -> bool:
    """A string from parts that are all written down: nobody needs that, except to hide it."""
    if node.type == "binary_expression":
        sides = (node.child_by_field_name("left"), node.child_by_field_name("right"))
        return all(side is not None and (side.type == "string" or _is_put_together(side)) for side in sides)
    called = node.child_by_field_name("function") if node.type == "call_expression" else None
    return text(called) in ("atob", "String.fromCharCode") or (
        called is not None
        and text(called.child_by_field_name("property")) in ("join", "concat", "replace", "toLowerCase")
        and text(called).startswith(("[", "'", '"'))
    )


def _options_skip(source: ScannedFile, node: Node) -> str:
    if (
        not source.test
        or node.type != "pair"
        or word(node.child_by_field_name("key")) not in ("skip", "todo", "only")
    ):
        return ""
    return "" if text(node.child_by_field_name("value")) == "false" else SKIPS


def _script_process(source: ScannedFile, node: Node) -> str:
    return process_is_asked(source, node, _dotted)


def _script_main(source: ScannedFile, node: Node) -> str:
    return main_is_asked(source, node, _dotted)


def _script_caller(source: ScannedFile, node: Node) -> str:
    return caller_is_asked(source, node, _dotted)


def _script_circumstances(source: ScannedFile, node: Node) -> str:
    return script_circumstances(source, node, _dotted)


SCRIPT_RULES: Final[tuple[Rule, ...]] = (
    _script_calls,
    _script_assigns,
    _script_imports,
    stack_is_examined,
    _script_names,
    _script_hides,
    _script_main,
    _script_caller,
    _script_reads,
    _options_skip,
    names_tests,
    put_together,
    script_passes_on,
    _script_circumstances,
    answers_certain,
    _script_process,
    spelled_by_numbers,
    same_whatever,
    answers_by_text,
)
