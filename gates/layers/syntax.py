"""Syntax trees of tree-sitter, as the scan's rules read them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Any, Final

Node = Any
"""A node of tree-sitter, whose bindings have no types everywhere."""


class Why(StrEnum):
    """Why a person should see a node."""

    ENDS = "ends the process"
    LATER = "ends or interrupts the process later"
    CALLERS = "looks at who calls it"
    LOADS = "loads code in an unusual way"
    FRAMEWORK = "reaches into the test framework"
    PATCHES = "replaces part of a module or of the language"
    READS = "names tests or what runs them"
    SKIPS = "skips a test"
    HIDES = "is written so that it reads as something else"
    LISTS = "looks through the files of the tree"
    COMMANDS = "lets a command read files"
    WHERE = "depends on where or when it runs"
    ANSWERS = "answers certain values only"
    SAME = "gives the same answer whatever it compares"


#: Commands that show what is in files.
READERS: Final = re.compile(
    r"^\W*(\S*/)?([ef]?grep|rg|ag|ack|[gmn]?awk|sed|perl|ruby|find|cat|head|tail|xargs|cp|ln|mv|tar|zip|dd|od|xxd"
    r"|strings|cut|sort|tac|nl|diff|cmp|ps|pgrep|pstree|lsof|(ba|da|z)?sh)(\s|\W*$)"
)
HERE: Final = frozenset({".", "..", "./", "../", "*", "./*", "__dirname", "process.cwd()", "import.meta.dirname"})

NAMED: Final = re.compile(
    r"(^|[/\\])(tests?|__tests__|spec)[/\\]|\.(test|spec)\.[cm]?[jt]sx?|_test\.go|NODE_TEST|NODE_OPTIONS|GOFLAGS"
    r"|/airboss/|AIRBOSS_(GATE|PIPE|LAYERS)|-test\.|=== RUN|--- (PASS|FAIL)"
    r"|/proc/(self|thread-self|\d|%[dsv]|\$\{|$)"
)


@dataclass(slots=True)
class ScannedFile:
    """A parsed file. ``names``: what its local names stand for; ``functions``: those that it defines; ``test``: it
    is one; ``asks_where``: it asks in which directory it works; ``texts``: what its names say that are given once;
    ``tables``: its names of maps that are written down."""

    language: str
    test: bool
    names: dict[str, str] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    asks_where: bool = False
    texts: dict[str, str] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)


Look = Callable[[ScannedFile, Node], str]
"""Why a person should see a node; empty: it is ordinary."""


class In(Enum):
    """The files that a rule is about."""

    SOURCE = auto()
    TESTS = auto()
    BOTH = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """One question about nodes of some ``kinds`` (words in one string)."""

    look: Look
    kinds: str
    where: In = In.SOURCE


def by_kind(rules: Sequence[Rule], *, test: bool) -> dict[str, list[Look]]:
    """What to ask each kind of node, in order."""
    found: dict[str, list[Look]] = {}
    for rule in rules:
        if rule.where is not (In.SOURCE if test else In.TESTS):
            for kind in rule.kinds.split():
                found.setdefault(kind, []).append(rule.look)
    return found


def walk(root: Node | None) -> Iterator[Node]:
    """Every node, in the order of the text."""
    todo = [] if root is None else [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(node.children))


def text(node: Node | None) -> str:
    """The text of a node; empty for none."""
    return "" if node is None else node.text.decode("utf-8", "replace")


def part(node: Node | None, name: str) -> Node | None:
    """A field of a node; ``None``: it has none."""
    return None if node is None else node.child_by_field_name(name)


def children(node: Node | None) -> list[Node]:
    """What a node has in it, signs aside."""
    return [] if node is None else list(node.named_children)


def arguments(node: Node | None) -> list[Node]:
    """What a call is given."""
    return children(part(node, "arguments"))


def first_of(nodes: Sequence[Node]) -> Node | None:
    """The first; ``None``: there is none."""
    return nodes[0] if nodes else None


def is_same(node: Node | None, other: Node | None) -> bool:
    """Whether it is the same place."""
    return node is not None and other is not None and bool(node.id == other.id)


def word(node: Node | None) -> str:
    """The text of a string's literal."""
    return text(node).strip("'\"`")


FUNCTIONS: Final = frozenset(
    {"function_declaration", "function_expression", "arrow_function", "method_definition", "generator_function",
     "generator_function_declaration", "func_literal", "method_declaration"}
)  # fmt: skip


def inside(node: Node) -> Node | None:
    """The function around a node; ``None``: it runs when the file is loaded."""
    above = node.parent
    while above is not None and above.type not in FUNCTIONS:
        above = above.parent
    return above


STRINGS: Final = "string template_string regex interpreted_string_literal raw_string_literal"


def names_tests(_source: ScannedFile, node: Node) -> str:
    """A string that names tests or a test runner."""
    return Why.READS if NAMED.search(text(node).strip("'\"`")) else ""
