"""What names in a JavaScript or TypeScript file stand for, as far as its text shows. Pure."""

from __future__ import annotations

from typing import Final

from gates.layers.syntax import HERE, Node, ScannedFile, arguments, children, first_of, part, text, walk, word

#: What an error that is made there stands for.
NEW_ERROR: Final = "new Error"
#: What a name of the directory where a program is or works stands for.
_HERE: Final = "<here>"
_FUNCTIONS: Final = frozenset({"function_declaration", "function_expression"})
_COPIES: Final = frozenset({"Object.assign", "structuredClone", "Object.fromEntries"})
_EXPRESSIONS: Final = ("member_expression", "call_expression", "new_expression", "identifier")
_SHORT: Final = 300
_GLOBAL: Final = ("globalThis", "global")


def module_of(name: str) -> str:
    """A module without what says that it is node's."""
    return name.removeprefix("node:").replace("/", ".")


def required(node: Node | None) -> str:
    """The module of ``require('m')``, or of a property of it; empty: it is none."""
    if node is None:
        return ""
    if node.type == "member_expression":
        inner = required(part(node, "object"))
        return f"{inner}.{text(part(node, 'property'))}" if inner else ""
    if node.type == "await_expression":
        return required(first_of(children(node)))
    if node.type != "call_expression" or text(part(node, "function")) not in ("require", "import"):
        return ""
    return module_of(word(first_of(arguments(node))))


def learn_names(source: ScannedFile, node: Node) -> None:
    """Notes what a local name stands for."""
    if node.type in _FUNCTIONS:
        source.functions.add(text(part(node, "name")))
    elif node.type == "variable_declarator":
        _learn_declared(source, part(node, "name"), part(node, "value"))
    elif node.type == "import_statement":
        module = module_of(word(part(node, "source")))
        for each in walk(node):
            if each.type == "import_clause":
                source.names.update((text(name), module) for name in children(each) if name.type == "identifier")
            elif each.type == "namespace_import":
                source.names[text(each.named_children[-1])] = module
            elif each.type == "import_specifier":
                name = text(part(each, "name"))
                source.names[text(part(each, "alias")) or name] = f"{module}.{name}"


def _learn_declared(source: ScannedFile, name: Node | None, value: Node | None) -> None:
    if name is None or value is None:
        return
    stands_for = required(value) or dotted(source, value)
    if value.type == "new_expression":
        stands_for = NEW_ERROR if text(part(value, "constructor")).endswith("Error") else ""
    if value.type in _FUNCTIONS:
        source.functions.add(text(name))
    short = value.type in _EXPRESSIONS and value.end_byte - value.start_byte < _SHORT
    if short and name.type == "identifier" and is_here(source, value):
        source.names.setdefault(text(name), _HERE)
    stands_for = stands_for or _copied(value)
    if not stands_for:
        return
    if name.type == "identifier":
        source.names[text(name)] = stands_for
    elif name.type == "object_pattern":
        for child in children(name):
            if child.type == "shorthand_property_identifier_pattern":
                source.names[text(child)] = f"{stands_for}.{text(child)}"
            elif child.type == "pair_pattern":
                source.names[text(part(child, "value"))] = f"{stands_for}.{text(part(child, 'key'))}"


def _copied(value: Node) -> str:
    """``process.env`` for a copy of it: under its name, all variables could be looked through."""
    copies = value.type == "object" or (
        value.type == "call_expression" and text(part(value, "function")) in _COPIES
    )
    return "process.env" if copies and any(map(_is_whole_env, walk(value))) else ""


def _is_whole_env(node: Node) -> bool:
    whole = node.parent is not None and node.parent.type in ("spread_element", "arguments")
    return node.type == "member_expression" and text(node) == "process.env" and whole


def dotted(source: ScannedFile, node: Node | None) -> str:
    """What an expression names, such as ``process.exit``; empty: nothing that its text shows."""
    if node is None:
        return ""
    match node.type:
        case "identifier" | "property_identifier":
            return source.names.get(text(node), text(node))
        case "parenthesized_expression":
            return dotted(source, first_of(children(node)))
        case "member_expression":
            of = part(node, "object")
            return _below(required(of) or dotted(source, of), text(part(node, "property")))
        case "subscript_expression":
            index = part(node, "index")
            if index is not None and index.type in ("string", "template_string"):
                return _below(dotted(source, part(node, "object")), word(index))
    return ""


def _below(inner: str, name: str) -> str:
    if inner in _GLOBAL:
        return name
    if inner in ("global.process", "globalThis.process"):
        return f"process.{name}"
    return f"{inner}.{name}" if inner else ""


def is_here(source: ScannedFile, node: Node | None) -> bool:
    """An expression for where the program is or works, and nothing below that."""
    nodes = list(walk(node))
    if any(each.type in ("string", "template_string") and word(each) not in HERE for each in nodes):
        return False
    if any(each.type == "identifier" and source.names.get(text(each)) == _HERE for each in nodes):
        return True
    places = ("path.resolve()", "__dirname", "__filename", "process.cwd()", "import.meta")
    return any(each in text(node) for each in places)
