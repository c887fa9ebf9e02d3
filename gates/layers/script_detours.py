"""What the scan looks for in JavaScript, TypeScript and Go besides names: ways around them, and what decides.

Pure.
"""

from __future__ import annotations

import re
from typing import Final

from gates.layers.parsed import names_in
from gates.layers.script_names import dotted
from gates.layers.syntax import (
    NAMED,
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

#: What reaches everything else: under another name, nothing of that is seen.
_CARRIED: Final = names_in("process globalThis global require module")
_SERVICES: Final = names_in(
    "CI CONTINUOUS_INTEGRATION GITHUB_ACTIONS GITLAB_CI CIRCLECI TRAVIS JENKINS_URL BUILDKITE"
)
_WORDS: Final = names_in(
    "stack captureStackTrace mainModule reallyExit binding child_process vm node:test node:assert node:module"
    " node:child_process node:vm node:worker_threads node:inspector"
)
#: The framework, handed on as a value: whoever gets it may replace parts of it.
_FRAMEWORK: Final = names_in("test assert assert.strict")
_SEARCHES: Final = names_in("some find findIndex filter every join toString forEach map")
_SECOND: Final = re.compile(r"\[[^,\]]*,\s*[^\s,\].]")
_TRIVIAL: Final = frozenset({"0", "1", "-1", "", "''", '""', "true", "false", "null", "nil", "undefined"})
_STRINGS: Final = names_in("string interpreted_string_literal raw_string_literal")
_LITERALS: Final = names_in("number int_literal float_literal") | _STRINGS
_UNKNOWN: Final = "\ufffd"
_LONGEST: Final = 4096


PUT_TOGETHER: Final = "binary_expression template_string call_expression"


def put_together(source: ScannedFile, node: Node) -> str:
    """Text from parts that are written down, which says something that no part says."""
    if _is_sum(node) and node.parent is not None and _is_sum(node.parent):
        return ""  # the whole of it counts
    parts = _parts(source, node)
    if sum(part != _UNKNOWN for part in parts) < 2:
        return ""
    said = "".join(parts)
    return Why.READS if NAMED.search(said) else Why.HIDES if said in _WORDS else ""


def _is_sum(node: Node) -> bool:
    return node.type == "binary_expression" and text(part(node, "operator")) == "+"


def learn_texts(source: ScannedFile, node: Node) -> None:
    """Notes the text that a name stands for, and which names are of maps that are written down."""
    if node.type not in ("variable_declarator", "const_spec", "var_spec", "short_var_declaration"):
        return
    name = part(node, "name") or part(node, "left")
    value = _only(part(node, "value") or part(node, "right"), "expression_list")
    if name is None or value is None:
        return
    is_map = value.type == "composite_literal" and text(part(value, "type")).startswith("map[")
    if is_map and any(each.type == "keyed_element" for each in walk(value)):
        source.tables.add(text(name))
    known = _parts(source, value)
    said = "" if text(name) in source.texts or _UNKNOWN in known else "".join(known)
    source.texts[text(name)] = said if len(said) < _LONGEST else ""


def _only(node: Node | None, *kinds: str) -> Node | None:
    """What is alone in a node of one of these kinds; any other is itself."""
    while node is not None and node.type in kinds:
        inner = [each for each in children(node) if each.type != "comment"]
        if len(inner) != 1:
            break
        node = inner[0]
    return node


def _parts(source: ScannedFile, node: Node | None) -> list[str]:
    """The parts of a text in their order; what is not written down is unknown."""
    if node is None:
        return []
    if node.type in _STRINGS:
        return [word(node)]
    if node.type == "identifier":
        return [source.texts.get(text(node)) or _UNKNOWN]
    if _is_sum(node):
        return [*_parts(source, part(node, "left")), *_parts(source, part(node, "right"))]
    if node.type == "parenthesized_expression":
        return _parts(source, first_of(children(node)))
    if node.type == "template_string":
        return [each for inner in children(node) for each in _of_template(source, inner)]
    called, given = part(node, "function"), arguments(node)
    if node.type != "call_expression":
        return [_UNKNOWN]
    if text(called) in ("fmt.Sprintf", "fmt.Sprint", "strings.Join") and given:
        return _of_go(source, text(called), given)
    of = part(called, "object")
    if of is None or of.type not in ("array", "string") or text(part(called, "property")) not in ("join", "concat"):
        return [_UNKNOWN]
    listed = [of, *given] if of.type == "string" else children(of)
    parts = ["".join(_parts(source, each)) for each in listed]
    joint = word(first_of(given)) if of.type == "array" else ""
    return [joint.join(parts), ""] if joint and _UNKNOWN not in "".join(parts) else parts


def _of_go(source: ScannedFile, name: str, given: list[Node]) -> list[str]:
    """What Go's own ways to put text together make of parts that are written down."""
    if name == "strings.Join":
        listed = [first_of(children(each)) or each for each in children(part(given[0], "body"))]
        parts = ["".join(_parts(source, each)) for each in listed]
        return ["".join(_parts(source, given[-1])).join(parts), ""] if parts else [_UNKNOWN]
    said, *parts = ["".join(_parts(source, each)) for each in given]
    if name == "fmt.Sprint":
        return [said, *parts]
    for each in parts:
        said = re.sub(r"%[svd]", lambda _, part=each: part, said, count=1)  # type: ignore[misc]  # bound at once
    return [said, ""]


def _of_template(source: ScannedFile, node: Node) -> list[str]:
    if node.type == "string_fragment":
        return [text(node)]
    return _parts(source, first_of(children(node))) or [_UNKNOWN]


def script_passes_on(source: ScannedFile, node: Node) -> str:
    """``process`` and the like as a value, from which its parts are asked for under another name."""
    named, above = source.names.get(text(node), text(node)), node.parent
    framework = named in _FRAMEWORK and text(node) in source.names
    if above is None or not (framework or named in _CARRIED):
        return ""
    if node.type == "shorthand_property_identifier":
        return Why.LOADS
    if above.type == "variable_declarator":
        declared = part(above, "name")
        return (
            Why.LOADS if declared is not None and declared.id != node.id and declared.type == "identifier" else ""
        )
    given = above.type in ("arguments", "array", "pair", "spread_element", "return_statement", "arrow_function")
    assigned = above.type == "assignment_expression" and is_same(part(above, "right"), node)
    return Why.LOADS if given or assigned else ""


CIRCUMSTANCES: Final = (
    "member_expression subscript_expression variable_declarator string for_in_statement call_expression"
    " binary_expression"
)


def script_circumstances(source: ScannedFile, node: Node) -> str:
    """What says where, when or by whom a script is run."""
    match node.type:
        case "member_expression" | "subscript_expression":
            owner, _, name = dotted(source, node).rpartition(".")
            if owner == "process.env" and name in _SERVICES:
                return Why.WHERE
            of = part(node, "object")
            made = of is not None and of.type == "identifier" and dotted(source, of) == "new Error"
            asks = (owner, name) == ("process", "report") or (made and name == "stack")
            return Why.CALLERS if asks else ""
        case "variable_declarator":
            names = part(node, "name")
            taken = names is not None and names.type == "array_pattern" and _SECOND.match(text(names))
            return Why.CALLERS if taken and dotted(source, part(node, "value")) == "process.argv" else ""
        case "string":
            return Why.WHERE if word(node) == ".git" and _is_asked_for(node) else ""
        case "for_in_statement":
            return Why.READS if dotted(source, part(node, "right")) == "process.env" else ""
        case "call_expression":
            return _asks(source, node)
    return Why.WHERE if _of_day(node) else ""


def _asks(source: ScannedFile, node: Node) -> str:
    called, first = part(node, "function"), first_of(arguments(node))
    name = dotted(source, called)
    if name in ("Object.keys", "Object.entries", "Object.values", "Reflect.ownKeys"):
        return Why.READS if dotted(source, first) == "process.env" and text(first) != "process.env" else ""
    owner, _, method = name.rpartition(".")
    if text(part(called, "property")) in ("startsWith", "endsWith"):
        directory = any(dotted(source, part(each, "function")) == "process.cwd" for each in walk(called))
        return Why.WHERE if directory and first is not None and first.type == "string" else ""
    if owner != "process.argv":
        return ""
    early = method in ("at", "slice") and text(first) in ("", "0", "1", "-1")
    asked = method in ("includes", "indexOf") and not word(first).startswith("-")
    return Why.CALLERS if early or asked or method in _SEARCHES else ""


def _is_asked_for(node: Node) -> bool:
    """Whether a path is asked for: whether it is there."""
    name = text(part(node.parent.parent, "function")) if node.parent is not None else ""
    return bool(re.search(r"(exists|stat|access)(Sync)?$|(join|resolve)$", name, re.IGNORECASE))


def _of_day(node: Node) -> bool:
    """Whether the present is compared with a time that is written down."""
    sides = [text(part(node, side)) for side in ("left", "right")]
    now = [bool(_NOW.search(side)) for side in sides]
    return any(_FIXED_DAY.fullmatch(side) for side in sides) and any(now) and not all(now)


_NOW: Final = re.compile(r"\bDate\.now\(\)|\bnew Date\(\)(?!\s*\.get(Hours|Minutes|Seconds|Day|Date|Month)\b)")
_FIXED_DAY: Final = re.compile(
    r"[\d_.e]{4,}|(new Date|Date\.parse|Date\.UTC|\+new Date)\([^)a-zA-Z]*['\"\d][^)]*\)"
)


DECIDES: Final = "if_statement ternary_expression expression_case"


def answers_certain(_source: ScannedFile, node: Node) -> str:
    """Two or more arguments are compared with values that are written down, and the answer is written down, too."""
    of_case = node.type == "expression_case"
    first = part(node, "value" if of_case else "condition")
    answer = node.named_children[-1] if of_case else part(node, "consequence")
    if first is None or answer is None:
        return ""
    asked = [each for condition in (first, *_above(node)) for each in walk(condition)]
    if len({_compared(each) for each in asked} - {""}) < 2 or any(text(each) == "||" for each in asked):
        return ""
    answer = _only(answer, "statement_list", "statement_block", "block")
    if answer is not None and answer.type == "return_statement":
        answer = first_of(children(answer)) or answer
    answer = _only(answer, "expression_list")
    return Why.ANSWERS if answer is not None and answer.type in _LITERALS else ""


def _above(node: Node) -> list[Node]:
    """The conditions around one, which have nothing else in them."""
    found: list[Node] = []
    below, above = node, node.parent
    while above is not None and above.type in ("if_statement", "statement_block", "block", "statement_list"):
        if above.type == "if_statement":
            condition = part(above, "condition")
            if condition is None or condition.id == below.id:
                break
            found.append(condition)
        elif len(above.named_children) != 1:
            break
        below, above = above, above.parent
    return found


def _compared(node: Node) -> str:
    """The name that is compared with a literal that says something."""
    if text(part(node, "operator")) not in ("==", "==="):
        return ""
    left, right = part(node, "left"), part(node, "right")
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
