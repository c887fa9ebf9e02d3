"""Syntax trees of tree-sitter, as the scan's rules read them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

Node = Any
"""A node of tree-sitter, whose bindings have no types everywhere."""

ENDS: Final = "ends the process"
LATER: Final = "ends or interrupts the process later"
CALLERS: Final = "looks at who calls it"
LOADS: Final = "loads code in an unusual way"
FRAMEWORK: Final = "reaches into the test framework"
PATCHES: Final = "replaces part of a module or of the language"
READS: Final = "names tests or what runs them"
SKIPS: Final = "skips a test"
HIDES: Final = "is written so that it reads as something else"
LISTS: Final = "looks through the files of the tree"
COMMANDS: Final = "lets a command read files"
WHERE: Final = "depends on where or when it runs"
ANSWERS: Final = "answers certain values only"
SAME: Final = "gives the same answer whatever it compares"

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


Rule = Callable[[ScannedFile, Node], str]
"""Why a person should see a node; empty: it is ordinary."""


def walk(root: Node) -> Iterator[Node]:
    """Every node, in the order of the text."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(node.children))


def text(node: Node | None) -> str:
    """The text of a node; empty for none."""
    return "" if node is None else node.text.decode("utf-8", "replace")


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


def names_tests(source: ScannedFile, node: Node) -> str:
    """A string that names tests or a test runner."""
    kinds = ("string", "template_string", "regex", "interpreted_string_literal", "raw_string_literal")
    if source.test or node.type not in kinds:
        return ""
    return READS if NAMED.search(text(node).strip("'\"`")) else ""
