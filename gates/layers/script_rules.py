"""What the scan looks for in JavaScript and TypeScript. Pure."""

from __future__ import annotations

import re
from typing import Final

from gates.layers import script_detours as detours
from gates.layers import script_inside as within
from gates.layers.parsed import by_name, names_in
from gates.layers.script_names import dotted, is_here, learn_names, module_of, required
from gates.layers.syntax import (
    HERE,
    READERS,
    STRINGS,
    In,
    Node,
    Rule,
    ScannedFile,
    Why,
    arguments,
    first_of,
    inside,
    is_same,
    names_tests,
    part,
    text,
    walk,
    word,
)

_JS_NAMES: Final = by_name(
    {
        Why.ENDS: "process.reallyExit process.abort process.kill",
        Why.CALLERS: (
            "Error.captureStackTrace Error.prepareStackTrace Error.stackTraceLimit arguments.callee"
            " util.getCallSite util.getCallSites process.mainModule module.parent module.children process.argv0"
            " process.title async_hooks.executionAsyncResource v8.serialize async_hooks.executionAsyncId"
            " async_hooks.triggerAsyncId console.Console"
        ),
        Why.LOADS: (
            "require.cache require.extensions process.binding process.dlopen module.constructor eval module._load"
            " module._extensions module._resolveFilename module.registerHooks module.register vm.runInThisContext"
            " vm.runInContext vm.Script vm.runInNewContext module.createRequire vm.compileFunction"
            " vm.SourceTextModule vm.SyntheticModule repl.start v8.DefaultSerializer v8.Serializer"
            " v8.setFlagsFromString process.getBuiltinModule"
        ),
        Why.READS: "process.env.NODE_TEST_CONTEXT process.env.NODE_OPTIONS process.execArgv",
        Why.PATCHES: "inspector.Session async_hooks.createHook Symbol.toPrimitive",
    }
)
_JS_EVENTS: Final = names_in("exit beforeExit uncaughtException unhandledRejection")
_JS_LISTEN: Final = names_in("on once addListener prependListener prependOnceListener emit")
_JS_SHARED: Final = names_in("test assert assert.strict test.reporters fs module vm")
_JS_GLOBALS: Final = names_in(
    "globalThis global console process Reflect Object Array Function String Number JSON Math Promise Error Date"
    " RegExp Map Set WeakMap WeakSet Symbol BigInt Boolean Buffer Intl URL Proxy"
)
#: What a program of another name is told: to run text as code, or to load more before it runs.
_JS_CODE: Final = names_in("-e --eval -p --print -pe --import --require -r --input-type=module")
_JS_PROTOTYPE: Final = re.compile(
    r"(Object|Reflect)\.getPrototypeOf\(|.*\.(__proto__|constructor\.prototype)$", re.DOTALL
)
_JS_SKIPS: Final = names_in("skip todo only failing")
_JS_RUNNERS: Final = names_in("test it describe suite t")
_JS_LISTS: Final = names_in("readdir readdirSync opendir opendirSync glob globSync cpSync")
_DEFINES: Final = names_in("Object.defineProperty Object.defineProperties Object.assign Reflect.set")
_CARRIERS: Final = names_in("process globalThis global Error module require")


def learn_script(source: ScannedFile, node: Node) -> None:
    """Notes what a local name stands for."""
    within.learn_stack(source, node)
    learn_names(source, node)


def _script_names(source: ScannedFile, node: Node) -> str:
    above = node.parent
    names = above is not None and above.type in ("import_specifier", "variable_declarator", "pair_pattern")
    if names and is_same(part(above, "name"), node):
        return ""
    name = dotted(source, node)
    if name == "process.exit" and not source.test and inside(node) is None:
        return Why.ENDS
    why = _JS_NAMES.get(name, "")
    return why if not source.test or why in (Why.CALLERS, Why.ENDS) else ""


def _script_makes(_source: ScannedFile, node: Node) -> str:
    made = text(part(node, "constructor"))
    of_text = made.endswith("Worker") and re.search(r"\beval\s*:\s*true", text(part(node, "arguments")))
    return Why.LOADS if made == "Function" or of_text else ""


def _script_constructors(_source: ScannedFile, node: Node) -> str:
    if node.type == "variable_declarator":
        return Why.LOADS if text(part(node, "value")) == "Function" else ""
    of = text(part(node, "object"))
    reaches = of.startswith("Object.getPrototypeOf(") or re.search(r"=>|\bfunction\b", of)
    return Why.LOADS if text(part(node, "property")) == "constructor" and reaches else ""


def _script_calls(source: ScannedFile, node: Node) -> str:
    name, first = dotted(source, part(node, "function")), first_of(arguments(node))
    owner, _, method = name.rpartition(".")
    if owner == "process" and method in _JS_LISTEN and word(first) in _JS_EVENTS:
        return Why.LATER
    if name in _DEFINES:
        shared = _is_shared(source, dotted(source, first)) or _JS_PROTOTYPE.match(text(first))
        return Why.PATCHES if not source.test and shared else ""
    if name in ("Function", "setImmediate.constructor"):
        return Why.LOADS
    if name == "Reflect.construct" and text(first) == "Function":
        return Why.LOADS
    if source.test:
        of_runner = owner in _JS_RUNNERS or owner.startswith(("test", "jest", "vitest"))
        return Why.SKIPS if method in _JS_SKIPS and of_runner else ""
    if name.startswith("child_process.") and re.search(r"execPath|argv0|\b(node|bun|deno)\b", text(first)):
        said = {word(each) for each in walk(part(node, "arguments")) if each.type == "string"}
        return Why.LOADS if not _JS_CODE.isdisjoint(said) else ""
    return Why.CALLERS if name == "fs.fstatSync" and first is not None and first.type == "number" else ""


def _is_shared(source: ScannedFile, name: str) -> bool:
    """Whether others use it as well: a module that is imported, or part of the language."""
    if not name or name.startswith((".", "module.exports", "exports")):
        return False
    top = name.partition(".")[0]
    imported = any(name == each or name.startswith(f"{each}.") for each in source.names.values() if each)
    return top in _JS_GLOBALS or (imported and top in _JS_SHARED)


def _script_assigns(source: ScannedFile, node: Node) -> str:
    left = part(node, "left")
    if left is None or left.type not in ("member_expression", "subscript_expression"):
        return ""
    of = part(left, "object")
    if required(of) or (_JS_PROTOTYPE.match(text(of)) and not source.test):
        return Why.PATCHES
    name = dotted(source, left) or dotted(source, of)
    if name == "process.exitCode":
        return Why.ENDS if not source.test and inside(node) is None else ""
    return Why.PATCHES if _is_shared(source, name) else ""


def _script_imports(_source: ScannedFile, node: Node) -> str:
    imports = node.type == "import_statement"
    module = module_of(word(part(node, "source"))) if imports else required(node)
    if module.startswith(("data:", "blob:")):
        return Why.LOADS
    return Why.FRAMEWORK if module in ("test", "test.reporters", "vitest", "jest", "mocha") else ""


def _script_escapes(_source: ScannedFile, node: Node) -> str:
    return Why.HIDES if "\\" in text(node) else ""


def _script_hides(source: ScannedFile, node: Node) -> str:
    """A name that is put together at run time to reach part of the language."""
    index, of = part(node, "index"), dotted(source, part(node, "object"))
    if index is None:
        return ""
    if index.type not in ("string", "number") and of in _CARRIERS:
        return Why.LOADS
    return Why.HIDES if _is_put_together(index) else ""


def _script_reads(source: ScannedFile, node: Node) -> str:
    """Ways to the text of the tests that name none: a list of files, a command, all variables."""
    name, first = dotted(source, part(node, "function")), first_of(arguments(node))
    if name in ("util.inspect", "util.format") and within.shows_stack(node):
        return Why.CALLERS
    if name.startswith("child_process.") and READERS.search(word(first)):
        return Why.COMMANDS
    if name.rpartition(".")[2] in _JS_LISTS:
        everything = word(first) in HERE or "recursive" in text(part(node, "arguments"))
        return Why.LISTS if everything or is_here(source, first) else ""
    if name not in ("Object.keys", "Object.entries", "Reflect.ownKeys", "JSON.stringify"):
        return ""
    return Why.READS if any(dotted(source, each) == "process.env" and _whole(each) for each in walk(first)) else ""


def _whole(node: Node) -> bool:
    """Whether it is all of an object, and not a part that is asked for."""
    return node.parent is None or node.parent.type not in ("member_expression", "subscript_expression")


def _is_put_together(node: Node | None) -> bool:
    """A string from parts that are all written down: nobody needs that, except to hide it."""
    if node is None:
        return False
    if node.type == "binary_expression":
        sides = (part(node, "left"), part(node, "right"))
        return all(side is not None and (side.type == "string" or _is_put_together(side)) for side in sides)
    called = part(node, "function") if node.type == "call_expression" else None
    joins = text(part(called, "property")) in ("join", "concat", "replace", "toLowerCase")
    return text(called) in ("atob", "String.fromCharCode") or (joins and text(called).startswith(("[", "'", '"')))


def _options_skip(_source: ScannedFile, node: Node) -> str:
    skips = word(part(node, "key")) in ("skip", "todo", "only") and text(part(node, "value")) != "false"
    return Why.SKIPS if skips else ""


_MEMBERS: Final = "member_expression subscript_expression"
_CALL: Final = "call_expression"

SCRIPT_RULES: Final = (
    Rule(_script_makes, "new_expression", In.BOTH),
    Rule(_script_constructors, "member_expression variable_declarator", In.BOTH),
    Rule(_script_calls, _CALL, In.BOTH),
    Rule(_script_assigns, "assignment_expression augmented_assignment_expression", In.BOTH),
    Rule(_script_imports, f"import_statement {_CALL}"),
    Rule(within.stack_is_examined, f"variable_declarator identifier {_MEMBERS}"),
    Rule(_script_names, f"identifier {_MEMBERS}", In.BOTH),
    Rule(_script_escapes, "identifier property_identifier shorthand_property_identifier_pattern", In.BOTH),
    Rule(_script_hides, "subscript_expression"),
    Rule(within.main_is_asked, _MEMBERS),
    Rule(within.caller_is_asked, f"{_CALL} {_MEMBERS}"),
    Rule(_script_reads, _CALL),
    Rule(_options_skip, "pair", In.TESTS),
    Rule(names_tests, STRINGS),
    Rule(detours.put_together, detours.PUT_TOGETHER),
    Rule(detours.script_passes_on, "identifier shorthand_property_identifier"),
    Rule(detours.script_circumstances, detours.CIRCUMSTANCES),
    Rule(detours.answers_certain, detours.DECIDES),
    Rule(within.process_is_asked, _MEMBERS),
    Rule(within.spelled_by_numbers, _CALL),
    Rule(within.same_whatever, "method_definition"),
    Rule(within.answers_by_text, "switch_statement binary_expression"),
)
