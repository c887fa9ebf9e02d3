"""What the scan looks for in JavaScript, TypeScript and Go besides names: ways around them, and what decides.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from gates.layers.syntax import (
    ANSWERS,
    CALLERS,
    HIDES,
    LOADS,
    NAMED,
    READS,
    WHERE,
    Node,
    ScannedFile,
    text,
    walk,
    word,
)

Dotted = Callable[[ScannedFile, Node | None], str]

#: What reaches everything else: under another name, nothing of that is seen.
_CARRIED: Final = frozenset({"process", "globalThis", "global", "require", "module"})
_SERVICES: Final = frozenset(
    {
        "CI",
        "CONTINUOUS_INTEGRATION",
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "CIRCLECI",
        "TRAVIS",
        "JENKINS_URL",
        "BUILDKITE",
    }
)
_WORDS: Final = frozenset(
    {"stack", "captureStackTrace", "mainModule", "reallyExit", "binding", "child_process", "vm"}
    | {
        f"node:{each}"
        for each in ("test", "assert", "module", "child_process", "vm", "worker_threads", "inspector")
    }
)
#: The framework, handed on as a value: whoever gets it may replace parts of it.
_FRAMEWORK: Final = frozenset({"test", "assert", "assert.strict"})
_SEARCHES: Final = frozenset({"some", "find", "findIndex", "filter", "every", "join", "toString", "forEach", "map"})
_SECOND: Final = re.compile(r"\[[^,\]]*,\s*[^\s,\].]")
_TRIVIAL: Final = frozenset({"0", "1", "-1", "", "''", '""', "true", "false", "null", "nil", "undefined"})
_LITERALS: Final = frozenset(
    {"number", "string", "int_literal", "float_literal", "interpreted_string_literal", "raw_string_literal"}
)
_STRINGS: Final = frozenset({"string", "interpreted_string_literal", "raw_string_literal"})
_UNKNOWN: Final = "\ufffd"
_LONGEST: Final = 4096


def put_together(source: ScannedFile, node: Node) -> str:
    """Text from parts that are written down, which says something that no part says."""
    if source.test or node.type not in ("binary_expression", "template_string", "call_expression"):
        return ""
    if _is_sum(node) and node.parent is not None and _is_sum(node.parent):
        return ""  # the whole of it counts
    parts = _parts(source, node)
    if sum(part != _UNKNOWN for part in parts) < 2:
        return ""
    said = "".join(parts)
    return READS if NAMED.search(said) else HIDES if said in _WORDS else ""


def _is_sum(node: Node) -> bool:
    return node.type == "binary_expression" and text(node.child_by_field_name("operator")) == "+"


def learn_texts(source: ScannedFile, node: Node) -> None:
    """Notes the text that a name stands for, and which names are of maps that are written down."""
    if node.type not in ("variable_declarator", "const_spec", "var_spec", "short_var_declaration"):
        return
    name = node.child_by_field_name("name") or node.child_by_field_name("left")
    value = node.child_by_field_name("value") or node.child_by_field_name("right")
    if name is None or value is None:
        return
    if value.type == "expression_list" and len(value.named_children) == 1:
        value = value.named_children[0]
    is_map = value.type == "composite_literal" and text(value.child_by_field_name("type")).startswith("map[")
    if is_map and any(each.type == "keyed_element" for each in walk(value)):
        source.tables.add(text(name))
    known = _parts(source, value)
    said = "" if text(name) in source.texts or _UNKNOWN in known else "".join(known)
    source.texts[text(name)] = said if len(said) < _LONGEST else ""


def _parts(source: ScannedFile, node: Node) -> list[str]:
    """The parts of a text in their order; what is not written down is unknown."""
    if node.type in _STRINGS:
        return [word(node)]
    if node.type == "identifier":
        return [source.texts.get(text(node)) or _UNKNOWN]
    if _is_sum(node):
        sides = (node.child_by_field_name("left"), node.child_by_field_name("right"))
        return [part for side in sides if side is not None for part in _parts(source, side)]
    if node.type == "parenthesized_expression" and node.named_children:
        return _parts(source, node.named_children[0])
    if node.type == "template_string":
        return [part for each in node.named_children for part in _of_template(source, each)]
    called = node.child_by_field_name("function") if node.type == "call_expression" else None
    given = node.child_by_field_name("arguments") if called is not None else None
    if called is None or given is None:
        return [_UNKNOWN]
    if text(called) in ("fmt.Sprintf", "fmt.Sprint", "strings.Join") and given.named_children:
        return _of_go(source, text(called), given.named_children)
    of = called.child_by_field_name("object")
    joined = text(called.child_by_field_name("property")) in ("join", "concat")
    if joined and of is not None and of.type in ("array", "string"):
        listed = [of] if of.type == "string" else of.named_children
        more = given.named_children if of.type == "string" else []
        parts = ["".join(_parts(source, each)) for each in (*listed, *more)]
        joint = word(given.named_children[0]) if given.named_children and of.type == "array" else ""
        return [joint.join(parts), ""] if joint and _UNKNOWN not in "".join(parts) else parts
    return [_UNKNOWN]


def _of_go(source: ScannedFile, name: str, given: list[Node]) -> list[str]:
    """What Go's own ways to put text together make of parts that are written down."""
    if name == "strings.Join":
        body = given[0].child_by_field_name("body")
        listed = (
            [each.named_children[0] if each.named_children else each for each in body.named_children]
            if body
            else []
        )
        joint = "".join(_parts(source, given[-1]))
        parts = ["".join(_parts(source, each)) for each in listed]
        return [joint.join(parts), ""] if parts else [_UNKNOWN]
    parts = ["".join(_parts(source, each)) for each in given]
    if name == "fmt.Sprint":
        return parts
    said = parts[0]
    for part in parts[1:]:
        said = re.sub(r"%[svd]", lambda _, part=part: part, said, count=1)  # type: ignore[misc]  # bound at once
    return [said, ""]


def _of_template(source: ScannedFile, node: Node) -> list[str]:
    if node.type == "string_fragment":
        return [text(node)]
    return _parts(source, node.named_children[0]) if node.named_children else [_UNKNOWN]


def script_passes_on(source: ScannedFile, node: Node) -> str:
    """``process`` and the like as a value, from which its parts are asked for under another name."""
    kinds = ("identifier", "shorthand_property_identifier")
    named = source.names.get(text(node), text(node))
    framework = named in _FRAMEWORK and text(node) in source.names
    above = node.parent
    if source.test or node.type not in kinds or above is None or not (framework or named in _CARRIED):
        return ""
    if node.type == "shorthand_property_identifier":
        return LOADS
    if above.type == "variable_declarator":
        declared = above.child_by_field_name("name")
        return LOADS if declared is not None and declared.id != node.id and declared.type == "identifier" else ""
    if above.type in ("arguments", "array", "pair", "spread_element", "return_statement", "arrow_function"):
        return LOADS
    return LOADS if above.type == "assignment_expression" and _is(above, "right", node) else ""


def _is(above: Node, field: str, node: Node) -> bool:
    found = above.child_by_field_name(field)
    return found is not None and found.id == node.id


def script_circumstances(source: ScannedFile, node: Node, dotted: Dotted) -> str:
    """What says where, when or by whom a script is run."""
    if source.test:
        return ""
    if node.type in ("member_expression", "subscript_expression"):
        owner, _, name = dotted(source, node).rpartition(".")
        if owner == "process.env" and name in _SERVICES:
            return WHERE
        if owner == "process" and name == "report":
            return CALLERS
        of = node.child_by_field_name("object")
        made = of is not None and of.type == "identifier" and dotted(source, of) == "new Error"
        return CALLERS if made and name == "stack" else ""
    if node.type == "variable_declarator":
        names, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        taken = names is not None and names.type == "array_pattern" and _SECOND.match(text(names))
        return CALLERS if taken and dotted(source, value) == "process.argv" else ""
    if node.type == "string":
        return WHERE if word(node) == ".git" and _is_asked_for(node) else ""
    if node.type == "for_in_statement":
        return READS if dotted(source, node.child_by_field_name("right")) == "process.env" else ""
    if node.type == "call_expression":
        return _asks(source, node, dotted)
    return WHERE if node.type == "binary_expression" and _of_day(node) else ""


def _asks(source: ScannedFile, node: Node, dotted: Dotted) -> str:
    name, given = dotted(source, node.child_by_field_name("function")), node.child_by_field_name("arguments")
    first = given.named_children[0] if given is not None and given.named_children else None
    if name in ("Object.keys", "Object.entries", "Object.values", "Reflect.ownKeys"):
        return READS if dotted(source, first) == "process.env" and text(first) != "process.env" else ""
    owner, _, method = name.rpartition(".")
    called = node.child_by_field_name("function")
    if called is not None and text(called.child_by_field_name("property")) in ("startsWith", "endsWith"):
        directory = any(
            each.type == "call_expression" and _of_process(source, each, dotted) for each in walk(called)
        )
        return WHERE if directory and first is not None and first.type == "string" else ""
    if owner != "process.argv":
        return ""
    early = method in ("at", "slice") and text(first) in ("", "0", "1", "-1")
    asked = method in ("includes", "indexOf") and not word(first).startswith("-")
    return CALLERS if early or asked or method in _SEARCHES else ""


def _is_asked_for(node: Node) -> bool:
    """Whether a path is asked for: whether it is there."""
    above = node.parent.parent if node.parent is not None else None
    name = text(above.child_by_field_name("function")) if above is not None else ""
    return bool(re.search(r"(exists|stat|access)(Sync)?$|(join|resolve)$", name, re.IGNORECASE))


def _of_process(source: ScannedFile, node: Node, dotted: Dotted) -> bool:
    return dotted(source, node.child_by_field_name("function")) == "process.cwd"


def _of_day(node: Node) -> bool:
    """Whether the present is compared with a time that is written down."""
    sides = [text(node.child_by_field_name(side)) for side in ("left", "right")]
    now = [bool(_NOW.search(side)) for side in sides]
    return any(_FIXED_DAY.fullmatch(side) for side in sides) and any(now) and not all(now)


_NOW: Final = re.compile(r"\bDate\.now\(\)|\bnew Date\(\)(?!\s*\.get(Hours|Minutes|Seconds|Day|Date|Month)\b)")
_FIXED_DAY: Final = re.compile(
    r"[\d_.e]{4,}|(new Date|Date\.parse|Date\.UTC|\+new Date)\([^)a-zA-Z]*['\"\d][^)]*\)"
)


def answers_certain(source: ScannedFile, node: Node) -> str:
    """Two or more arguments are compared with values that are written down, and the answer is written down, too."""
    if source.test or node.type not in ("if_statement", "ternary_expression", "expression_case"):
        return ""
    of_case = node.type == "expression_case"
    first = node.child_by_field_name("value" if of_case else "condition")
    answer = node.named_children[-1] if of_case else node.child_by_field_name("consequence")
    if first is None or answer is None:
        return ""
    asked = [first, *_above(node)]
    names = {found for condition in asked for each in walk(condition) if (found := _compared(each))}
    if len(names) < 2 or any(text(each) == "||" for condition in asked for each in walk(condition)):
        return ""
    if answer.type == "statement_list" and len(answer.named_children) == 1:
        answer = answer.named_children[0]
    if answer.type in ("statement_block", "block"):
        inner = [each for each in answer.named_children if each.type != "comment"]
        inner = inner[0].named_children if len(inner) == 1 and inner[0].type == "statement_list" else inner
        answer = inner[0] if len(inner) == 1 else answer
    if answer.type == "return_statement" and answer.named_children:
        answer = answer.named_children[0]
    while answer.type == "expression_list" and len(answer.named_children) == 1:
        answer = answer.named_children[0]
    return ANSWERS if answer.type in _LITERALS else ""


def _above(node: Node) -> list[Node]:
    """The conditions around one, which have nothing else in them."""
    found: list[Node] = []
    below, above = node, node.parent
    while above is not None and above.type in ("if_statement", "statement_block", "block", "statement_list"):
        if above.type == "if_statement":
            condition = above.child_by_field_name("condition")
            if condition is None or condition.id == below.id:
                break
            found.append(condition)
        elif len(above.named_children) != 1:
            break
        below, above = above, above.parent
    return found


def _compared(node: Node) -> str:
    """The name that is compared with a literal that says something."""
    if node.type != "binary_expression" or text(node.child_by_field_name("operator")) not in ("==", "==="):
        return ""
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    if left is None or right is None or left.type != "identifier" or right.type not in _LITERALS:
        return ""
    return "" if text(right) in _TRIVIAL else text(left)


_GO_ASKS: Final = frozenset({"os.Stat", "os.Lstat", "os.Open", "os.ReadFile", "os.ReadDir", "path/filepath.Glob"})


def go_where(source: ScannedFile, name: str, words: list[str]) -> bool:
    """Whether it asks for a variable that services which run tests set, or how the directory is called."""
    if source.asks_where and name in ("strings.HasSuffix", "strings.HasPrefix"):
        return len(words) == 2 and words[1] not in ("", "/")
    if (source.asks_where and name == "path/filepath.Base") or (words[:1] == ["PWD"] and name.startswith("os.")):
        return True
    if name in _GO_ASKS and words and words[0].startswith(("../", ".git")):
        return True
    return words[:1] != [] and words[0] in _SERVICES and name in ("os.Getenv", "os.LookupEnv", "syscall.Getenv")
