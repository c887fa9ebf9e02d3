"""What the scan looks for in JavaScript and TypeScript that looks into its own program: the stack of an error, the
process, text that is spelled by numbers, and answers that are the same whatever they hold. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from gates.layers.parsed import names_in
from gates.layers.syntax import ANSWERS, CALLERS, HIDES, LOADS, SAME, Node, ScannedFile, text, walk, word

Dotted = Callable[[ScannedFile, Node | None], str]

#: What the name of an error's stack stands for.
STACK: Final = "error.stack"
#: What an error that is made there stands for.
NEW_ERROR: Final = "new Error"
_SHOWS: Final = frozenset(
    {"Object.getOwnPropertyNames", "Object.getOwnPropertyDescriptor", "Object.getOwnPropertyDescriptors"}
    | {"Reflect.ownKeys", "Reflect.get"}
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
_CARRY: Final = frozenset(
    {"parenthesized_expression", "template_substitution", "template_string", "ternary_expression"}
    | {"non_null_expression", "as_expression", "satisfies_expression", "await_expression"}
)
_TEXT_OF: Final = frozenset({"String", "stringify", "format", "inspect", "concat", "from", "structuredClone"})
_LOOKS_AT: Final = frozenset({"test", "exec", "match", "search", "split", "includes", "indexOf", "startsWith"})
_ERROR: Final = re.compile(r"(?i)e|ex|err\w*|\w*error|cause|reason|exception")
_NUMBERS: Final = frozenset({"number", "string"})


def learn_stack(source: ScannedFile, node: Node) -> None:
    """Notes which names stand for the stack of an error: ``const said = error.stack``, ``catch ({ stack })``."""
    pattern: Node | None = None
    if node.type == "catch_clause":
        pattern = node.child_by_field_name("parameter")
    elif node.type == "variable_declarator":
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None or value is None:
            return
        if name.type == "identifier" and any(_is_stack(each) for each in _choices(value)):
            source.names[text(name)] = STACK
        pattern = name if value.type == "new_expression" or _ERROR.fullmatch(text(value)) else None
    if pattern is not None and pattern.type == "object_pattern":
        for each in pattern.named_children:
            if each.type == "shorthand_property_identifier_pattern" and text(each) == "stack":
                source.names["stack"] = STACK
            elif each.type == "pair_pattern" and "stack" in text(each.child_by_field_name("key")):
                source.names[text(each.child_by_field_name("value"))] = STACK


def _choices(value: Node) -> list[Node]:
    """``a ?? b`` is one of both."""
    if value.type == "binary_expression":
        sides = (value.child_by_field_name("left"), value.child_by_field_name("right"))
        return [each for side in sides if side is not None for each in _choices(side)]
    return [value]


def _is_stack(node: Node) -> bool:
    if node.type == "member_expression":
        return text(node.child_by_field_name("property")) == "stack" and not _is_own(node)
    return node.type == "subscript_expression" and word(node.child_by_field_name("index")) == "stack"


def _is_own(node: Node) -> bool:
    """``this.stack`` of a class that is no error: a parser has one."""
    if text(node.child_by_field_name("object")) != "this":
        return False
    above = node.parent
    while above is not None and above.type not in ("class_declaration", "class"):
        above = above.parent
    return above is None or not any(
        each.type == "class_heritage" and text(each).endswith("Error") for each in above.children
    )


def stack_is_examined(source: ScannedFile, node: Node) -> str:
    """The stack of an error that is taken apart or searched, which logging does not do."""
    if source.test:
        return ""
    if node.type == "variable_declarator":  # const { stack } = new Error()
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        made = value is not None and value.type == "new_expression" and name is not None
        return CALLERS if made and any(text(each) == "stack" for each in walk(name)) else ""
    named = node.type == "identifier" and source.names.get(text(node)) == STACK
    if not named and not _is_stack(node):
        return ""
    made = node.child_by_field_name("object")
    if made is not None and any(each.type == "new_expression" for each in walk(made)):
        return CALLERS
    below, above = node, node.parent
    while above is not None:
        if above.type == "arguments" and above.parent is not None:
            called = above.parent.child_by_field_name("function")
            last = text(called.child_by_field_name("property")) if called is not None else ""
            last = last or text(called)
            if last not in _TEXT_OF:
                return CALLERS if last in _LOOKS_AT or last == "RegExp" else ""
            above = above.parent
        elif above.type == "binary_expression":
            if text(above.child_by_field_name("operator")) not in ("??", "||", "&&", "+"):
                return CALLERS
        elif above.type not in _CARRY:
            of = above.child_by_field_name("object")
            taken = above.type in ("member_expression", "subscript_expression")
            return CALLERS if taken and of is not None and of.id == below.id else ""
        below, above = above, above.parent
    return ""


def process_is_asked(source: ScannedFile, node: Node, dotted: Dotted) -> str:
    """What ``process`` knows that few programs ask: its listeners, its handles, what it has loaded."""
    if source.test or node.type not in ("member_expression", "subscript_expression"):
        return ""
    owner, _, name = dotted(source, node).rpartition(".")
    return CALLERS if owner == "process" and name not in _PROCESS else ""


def main_is_asked(source: ScannedFile, node: Node, dotted: Dotted) -> str:
    """What says which program runs, other than whether it is this file."""
    if source.test or node.type not in ("member_expression", "subscript_expression"):
        return ""
    name = dotted(source, node)
    index = text(node.child_by_field_name("index")) if node.type == "subscript_expression" else ""
    second = index == "1" and dotted(source, node.child_by_field_name("object")) == "process.argv"
    if name.startswith("process._"):
        return CALLERS
    if name != "require.main" and not second:
        return ""
    above = node.parent
    while above is not None and above.type not in ("binary_expression", "statement_block", "program"):
        above = above.parent
    asked = text(above) if above is not None and above.type == "binary_expression" else ""
    itself = any(word in asked for word in ("import.meta", "__filename", "=== module", "== module", "module ==="))
    return "" if itself else CALLERS


def caller_is_asked(source: ScannedFile, node: Node, dotted: Dotted) -> str:
    """The function that called one of this file, and what an error knows of its callers, without its name."""
    if source.test:
        return ""
    if node.type == "member_expression":
        of, name = node.child_by_field_name("object"), text(node.child_by_field_name("property"))
        own = text(of) in source.functions or text(of).startswith(("exports.", "module.exports."))
        return CALLERS if name == "caller" and own else ""
    if node.type == "subscript_expression":
        of, index = node.child_by_field_name("object"), node.child_by_field_name("index")
        plain = index is not None and index.type in ("string", "number")
        if text(of) in source.functions:
            return CALLERS if not plain or word(index) == "caller" else ""
        return CALLERS if dotted(source, of) == NEW_ERROR and not plain else ""
    if node.type != "call_expression":
        return ""
    function, given = node.child_by_field_name("function"), node.child_by_field_name("arguments")
    if function is not None and text(function.child_by_field_name("property")) == "constructor":
        return LOADS
    first = given.named_children[0] if given is not None and given.named_children else None
    if first is None or dotted(source, function) not in _SHOWS:
        return ""
    made = first.type == "new_expression" and text(first.child_by_field_name("constructor")).endswith("Error")
    return CALLERS if made or dotted(source, first) == NEW_ERROR else ""


def shows_stack(node: Node, given: Node | None) -> bool:
    """A text of an error that is made there, or of anything, and then taken apart."""
    above = node.parent
    taken = above is not None and above.type in ("member_expression", "subscript_expression")
    return taken or (given is not None and any(each.type == "new_expression" for each in walk(given)))


def spelled_by_numbers(source: ScannedFile, node: Node) -> str:
    """Text that is written so that nobody reads it: the numbers of its letters, or backwards."""
    if source.test or node.type != "call_expression":
        return ""
    called, given = node.child_by_field_name("function"), node.child_by_field_name("arguments")
    if called is None or given is None:
        return ""
    name, of = text(called.child_by_field_name("property")), called.child_by_field_name("object")
    letters = ("fromCharCode", "fromCodePoint")
    if name in letters and len(given.named_children) > 2:
        return HIDES if all(each.type in _NUMBERS for each in given.named_children) else ""
    if name == "map" and of is not None and of.type == "array" and len(of.named_children) > 2:
        numbers = all(each.type == "number" for each in of.named_children)
        return HIDES if numbers and any(each in text(given) for each in letters) else ""
    if name == "reverse" and of is not None:
        return HIDES if re.match(r"""(\[\.\.\.)?["'`][^"'`]+["'`]""", text(of)) else ""
    return ""


def same_whatever(source: ScannedFile, node: Node) -> str:
    """``valueOf`` and the like that give one value whatever the object holds."""
    if source.test or node.type != "method_definition":
        return ""
    name, body = text(node.child_by_field_name("name")), node.child_by_field_name("body")
    if name not in ("valueOf", "toString", "[Symbol.toPrimitive]") or body is None or name == "toString":
        return ""
    answers = [each for each in walk(body) if each.type == "return_statement"]
    fixed = all("this" not in {text(part) for part in walk(each)} for each in answers)
    return SAME if answers and fixed else ""


def answers_by_text(source: ScannedFile, node: Node) -> str:
    """Several arguments as one text, looked up among texts that are written down, and another way for all else."""
    if source.test:
        return ""
    if node.type == "switch_statement":
        value = node.child_by_field_name("value")
        whole = value is not None and any(each.type == "template_string" for each in walk(value))
        cases = [each.child_by_field_name("value") for each in walk(node) if each.type == "switch_case"]
        fixed = all(each is not None and each.type in _NUMBERS for each in cases)
        return ANSWERS if whole and cases and fixed else ""
    if node.type != "binary_expression" or text(node.child_by_field_name("operator")) not in ("??", "||"):
        return ""
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    index = left.child_by_field_name("index") if left is not None else None
    if left is not None and left.type == "call_expression" and text(left).partition("(")[0].endswith(".get"):
        given = left.child_by_field_name("arguments")
        index = given.named_children[0] if given is not None and given.named_children else None
    parts = [] if index is None else [each for each in index.named_children if each.type == "template_substitution"]
    computed = right is not None and right.type in ("binary_expression", "call_expression")
    return ANSWERS if len(parts) > 1 and computed else ""
