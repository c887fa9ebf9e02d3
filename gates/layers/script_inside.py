"""What the scan looks for in JavaScript and TypeScript that looks into its own program: the stack of an error, the
process, text that is spelled by numbers, and answers that are the same whatever they hold. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from gates.layers.parsed import names_in
from gates.layers.script_names import NEW_ERROR, dotted
from gates.layers.syntax import (
    Node,
    ScannedFile,
    Why,
    arguments,
    children,
    first_of,
    is_same,
    part,
    text,
    walk,
    word,
)

#: What the name of an error's stack stands for.
STACK: Final = "error.stack"
_SHOWS: Final = names_in(
    "Object.getOwnPropertyNames Object.getOwnPropertyDescriptor Object.getOwnPropertyDescriptors Reflect.ownKeys"
    " Reflect.get"
)
#: What programs ask ``process`` for. Anything else says who runs it.
_PROCESS: Final = names_in(
    "arch argv availableMemory binding chdir connected constrainedMemory cpuUsage cwd disconnect dlopen emit"
    " emitWarning env execArgv execPath exit exitCode features getegid geteuid getgid getuid hrtime kill abort"
    " loadEnvFile mainModule memoryUsage nextTick noDeprecation off on once addListener removeListener"
    " removeAllListeners prependListener prependOnceListener pid platform reallyExit release resourceUsage send"
    " setMaxListeners stderr stdin stdout throwDeprecation title argv0 report umask uptime version versions"
    " getBuiltinModule"
)
_CARRY: Final = names_in(
    "parenthesized_expression template_substitution template_string ternary_expression non_null_expression"
    " as_expression satisfies_expression await_expression"
)
_TEXT_OF: Final = names_in("String stringify format inspect concat from structuredClone")
_LOOKS_AT: Final = names_in("test exec match search split includes indexOf startsWith RegExp")
_ERROR: Final = re.compile(r"(?i)e|ex|err\w*|\w*error|cause|reason|exception")
_NUMBERS: Final = frozenset({"number", "string"})


def learn_stack(source: ScannedFile, node: Node) -> None:
    """Notes which names stand for the stack of an error: ``const said = error.stack``, ``catch ({ stack })``."""
    pattern: Node | None = None
    if node.type == "catch_clause":
        pattern = part(node, "parameter")
    elif node.type == "variable_declarator":
        name, value = part(node, "name"), part(node, "value")
        if name is None or value is None:
            return
        if name.type == "identifier" and any(map(_is_stack, _choices(value))):
            source.names[text(name)] = STACK
        pattern = name if value.type == "new_expression" or _ERROR.fullmatch(text(value)) else None
    if pattern is None or pattern.type != "object_pattern":
        return
    for each in children(pattern):
        if each.type == "shorthand_property_identifier_pattern" and text(each) == "stack":
            source.names["stack"] = STACK
        elif each.type == "pair_pattern" and "stack" in text(part(each, "key")):
            source.names[text(part(each, "value"))] = STACK


def _choices(value: Node | None) -> list[Node]:
    """``a ?? b`` is one of both."""
    if value is not None and value.type == "binary_expression":
        return [*_choices(part(value, "left")), *_choices(part(value, "right"))]
    return [] if value is None else [value]


def _is_stack(node: Node) -> bool:
    if node.type == "member_expression":
        return text(part(node, "property")) == "stack" and not _is_own(node)
    return node.type == "subscript_expression" and word(part(node, "index")) == "stack"


def _is_own(node: Node) -> bool:
    """``this.stack`` of a class that is no error: a parser has one."""
    if text(part(node, "object")) != "this":
        return False
    above = node.parent
    while above is not None and above.type not in ("class_declaration", "class"):
        above = above.parent
    heads = [] if above is None else [each for each in above.children if each.type == "class_heritage"]
    return not any(text(each).endswith("Error") for each in heads)


def stack_is_examined(source: ScannedFile, node: Node) -> str:
    """The stack of an error that is taken apart or searched, which logging does not do."""
    if node.type == "variable_declarator":  # const { stack } = new Error()
        value = part(node, "value")
        made = value is not None and value.type == "new_expression"
        return Why.CALLERS if made and any(text(each) == "stack" for each in walk(part(node, "name"))) else ""
    named = node.type == "identifier" and source.names.get(text(node)) == STACK
    if not named and not _is_stack(node):
        return ""
    if any(each.type == "new_expression" for each in walk(part(node, "object"))):
        return Why.CALLERS
    below, above = node, node.parent
    while above is not None:
        if above.type == "arguments" and above.parent is not None:
            called = part(above.parent, "function")
            last = text(part(called, "property")) or text(called)
            if last not in _TEXT_OF:
                return Why.CALLERS if last in _LOOKS_AT else ""
            above = above.parent
        elif above.type == "binary_expression":
            if text(part(above, "operator")) not in ("??", "||", "&&", "+"):
                return Why.CALLERS
        elif above.type not in _CARRY:
            taken = above.type in ("member_expression", "subscript_expression")
            return Why.CALLERS if taken and is_same(part(above, "object"), below) else ""
        below, above = above, above.parent
    return ""


def process_is_asked(source: ScannedFile, node: Node) -> str:
    """What ``process`` knows that few programs ask: its listeners, its handles, what it has loaded."""
    owner, _, name = dotted(source, node).rpartition(".")
    return Why.CALLERS if owner == "process" and name not in _PROCESS else ""


def main_is_asked(source: ScannedFile, node: Node) -> str:
    """What says which program runs, other than whether it is this file."""
    name = dotted(source, node)
    second = text(part(node, "index")) == "1" and dotted(source, part(node, "object")) == "process.argv"
    if name.startswith("process._"):
        return Why.CALLERS
    if name != "require.main" and not second:
        return ""
    above = node.parent
    while above is not None and above.type not in ("binary_expression", "statement_block", "program"):
        above = above.parent
    asked = text(above) if above is not None and above.type == "binary_expression" else ""
    itself = any(word in asked for word in ("import.meta", "__filename", "=== module", "== module", "module ==="))
    return "" if itself else Why.CALLERS


def caller_is_asked(source: ScannedFile, node: Node) -> str:
    """The function that called one of this file, and what an error knows of its callers, without its name."""
    of = part(node, "object")
    if node.type == "member_expression":
        own = text(of) in source.functions or text(of).startswith(("exports.", "module.exports."))
        return Why.CALLERS if text(part(node, "property")) == "caller" and own else ""
    if node.type == "subscript_expression":
        index = part(node, "index")
        plain = index is not None and index.type in _NUMBERS
        if text(of) in source.functions:
            return Why.CALLERS if not plain or word(index) == "caller" else ""
        return Why.CALLERS if dotted(source, of) == NEW_ERROR and not plain else ""
    function, first = part(node, "function"), first_of(arguments(node))
    if text(part(function, "property")) == "constructor":
        return Why.LOADS
    if first is None or dotted(source, function) not in _SHOWS:
        return ""
    made = first.type == "new_expression" and text(part(first, "constructor")).endswith("Error")
    return Why.CALLERS if made or dotted(source, first) == NEW_ERROR else ""


def shows_stack(node: Node) -> bool:
    """A text of an error that is made there, or of anything, and then taken apart."""
    taken = node.parent is not None and node.parent.type in ("member_expression", "subscript_expression")
    return taken or any(each.type == "new_expression" for each in walk(part(node, "arguments")))


def spelled_by_numbers(_source: ScannedFile, node: Node) -> str:
    """Text that is written so that nobody reads it: the numbers of its letters, or backwards."""
    called, given = part(node, "function"), arguments(node)
    name, of = text(part(called, "property")), part(called, "object")
    letters = ("fromCharCode", "fromCodePoint")
    if name in letters and len(given) > 2:
        return Why.HIDES if all(each.type in _NUMBERS for each in given) else ""
    if name == "map" and of is not None and of.type == "array" and len(children(of)) > 2:
        numbers = all(each.type == "number" for each in children(of))
        return Why.HIDES if numbers and any(each in text(part(node, "arguments")) for each in letters) else ""
    backwards = name == "reverse" and re.match(r"""(\[\.\.\.)?["'`][^"'`]+["'`]""", text(of))
    return Why.HIDES if backwards else ""


def same_whatever(_source: ScannedFile, node: Node) -> str:
    """``valueOf`` and the like that give one value whatever the object holds."""
    if text(part(node, "name")) not in ("valueOf", "[Symbol.toPrimitive]"):
        return ""
    answers = [each for each in walk(part(node, "body")) if each.type == "return_statement"]
    fixed = all("this" not in {text(each) for each in walk(answer)} for answer in answers)
    return Why.SAME if answers and fixed else ""


def answers_by_text(_source: ScannedFile, node: Node) -> str:
    """Several arguments as one text, looked up among texts that are written down, and another way for all else."""
    if node.type == "switch_statement":
        whole = any(each.type == "template_string" for each in walk(part(node, "value")))
        cases = [part(each, "value") for each in walk(node) if each.type == "switch_case"]
        fixed = all(each is not None and each.type in _NUMBERS for each in cases)
        return Why.ANSWERS if whole and cases and fixed else ""
    if text(part(node, "operator")) not in ("??", "||"):
        return ""
    left, right = part(node, "left"), part(node, "right")
    index = part(left, "index")
    if left is not None and left.type == "call_expression" and text(left).partition("(")[0].endswith(".get"):
        index = first_of(arguments(left))
    parts = [each for each in children(index) if each.type == "template_substitution"]
    computed = right is not None and right.type in ("binary_expression", "call_expression")
    return Why.ANSWERS if len(parts) > 1 and computed else ""
