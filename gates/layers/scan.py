"""Layer 6: the syntax trees of the source files that a change touches. Only what it adds is held.

What defeats it: names that are put together at run time from parts that look harmless, and values that only
happen to be right for the tests. The other layers watch what such code does.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Final

from fleet.config import LayerName
from fleet.verdict import HeldPlace
from gates.layers import grammars
from gates.layers.comparing import compared_on
from gates.layers.detours import hidden_lines, hidden_script_lines, shown_otherwise
from gates.layers.folding import Folding
from gates.layers.names import Names
from gates.layers.parsed import ParsedFile
from gates.layers.paths import is_test
from gates.layers.protocol import Case, Change, LayerFinding, Runs, Toolchain
from gates.layers.rules import sights
from gates.layers.syntax import Why
from gates.layers.tools import import_roots

_MOST_BYTES: Final = 2 << 20
_MOST: Final = 20
#: What a runner builds in or loads besides sources.
_MACHINE_CODE: Final = {Toolchain.GO: (".s", ".syso", ".c", ".cc"), Toolchain.NODE: (".node", ".wasm")}


class Scan:
    """Holds code that tests rarely need and tampering often does."""

    number = 6
    name = LayerName.SCAN

    def inspect(self, case: Case) -> LayerFinding:
        change = case.change
        ours = _ours(change)
        held: list[HeldPlace] = []
        for each in change.paths:
            if each.status == "D":
                continue
            if each.path.lower().endswith(_MACHINE_CODE.get(case.toolchain, ())):
                held.append(HeldPlace(each.path, 0, "is code that no layer can read"))
            if each.path.endswith(".py"):
                held += self._file(each.path, change, ours)
            elif grammars.language_of(each.path) and grammars.available():
                held += _by_grammar(each.path, change)
        return LayerFinding(held=tuple(held[:_MOST]))

    def judge(self, case: Case, runs: Runs) -> LayerFinding:
        known = {(file, name) for file, _, name in runs.baseline.equal}
        seen = [*runs.report.head.equal, *(runs.report.check.equal if runs.report.check else ())]
        held = [HeldPlace(file, line, _odd(name)) for file, line, name in seen if (file, name) not in known]
        base, head = runs.baseline, runs.report.head
        for before, now, why in (
            (base.reads, head.reads, "reads the tests while they run"),
            (base.commands, head.commands, "lets a command read files while the tests run"),
            (base.callers, head.callers, "looks at what others run while the tests run"),
            (
                base.processes,
                head.processes,
                "starts its own code in a process that nothing watches, while the tests run",
            ),
        ):
            files = {file for file, _ in before}
            held += [HeldPlace(file, line, why) for file, line in now if file not in files]
        return LayerFinding(held=tuple(held))

    def _file(self, path: str, change: Change, ours: Callable[[str], bool]) -> Iterable[HeldPlace]:
        data = change.new.get(path)
        if data is None or len(data) > _MOST_BYTES:
            return [HeldPlace(path, 0, "is too large to be read")] if path in change.head else []
        hidden = hidden_lines(data)
        if hidden:
            return [HeldPlace(path, 0, hidden)]
        try:
            tree = ast.parse(data)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return [HeldPlace(path, getattr(error, "lineno", 0) or 0, "is not Python that can be read")]
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        compared = _compared(change.old.get(path, b""))
        source = ParsedFile(tree, Names(tree), ours, is_test(path), parents, Folding(tree), compared)
        added = _added(path, data, change)
        found: dict[int, HeldPlace] = {}
        for sight in sights(source):
            first = getattr(sight.node, "lineno", 0)
            last = getattr(sight.node, "end_lineno", first) or first
            lines = added.intersection(range(first, last + 1))
            if lines:
                found.setdefault(first, HeldPlace(path, min(lines), sight.why))
        if source.folding.given_up:
            found.setdefault(0, HeldPlace(path, 0, "puts together more text than is followed"))
        return [found[line] for line in sorted(found)]


def _odd(name: str) -> str:
    """Why a class should be looked at; ``Amount.__sub__``: for what this method answers."""
    owner, _, method = name.rpartition(".")
    if method.startswith("__"):
        return f"{method} of {owner} answers otherwise than Python's own in a test that failed on the base"
    return f"an object of {name} equals an object that it has never seen"


def _compared(old: bytes) -> frozenset[str]:
    try:
        return compared_on(ast.parse(old)) if b"class " in old else frozenset()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()


def _by_grammar(path: str, change: Change) -> list[HeldPlace]:
    data = change.new.get(path)
    if data is None or len(data) > _MOST_BYTES:
        return [HeldPlace(path, 0, "is too large to be read")] if path in change.head else []
    hidden = shown_otherwise(data) if path.endswith(".go") else hidden_script_lines(data)
    if hidden:
        return [HeldPlace(path, 0, hidden)]
    lines = _added(path, data, change)
    found = _embedded(path, data, change, lines) if path.endswith(".go") else {}
    for seen in grammars.sights(path, data, test=is_test(path)):
        here = lines.intersection(range(seen.first, seen.last + 1))
        if here:
            found.setdefault(seen.first, HeldPlace(path, min(here), seen.why))
    return [found[line] for line in sorted(found)]


def _embedded(path: str, data: bytes, change: Change, lines: frozenset[int]) -> dict[int, HeldPlace]:
    """Lines that put directories with tests into a Go program."""
    here, found = posixpath.dirname(path), dict[int, HeldPlace]()
    tests = [each for each in change.head if each.endswith("_test.go")]
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line.startswith("//go:embed ") or number not in lines:
            continue
        for word in line.split()[1:]:
            at = posixpath.normpath(posixpath.join(here, word.strip('"`').removeprefix("all:")))
            below = "*" if at == "." else f"{at}/*"
            if any(fnmatchcase(each, below) or fnmatchcase(each, at) for each in tests):
                found[number] = HeldPlace(path, number, Why.READS)
    return found


def _added(path: str, data: bytes, change: Change) -> frozenset[int]:
    """The numbers of the lines that the change adds to a file."""
    if path not in change.base:
        return frozenset(range(1, data.count(b"\n") + 2))
    return change.added.get(path, frozenset())


def _ours(change: Change) -> Callable[[str], bool]:
    """Whether a dotted name belongs to the repository."""
    own = set()
    roots = import_roots(change.base)
    for path in change.head:
        if path.endswith(".py"):
            for root in roots:
                if path.startswith(root):
                    own.add(posixpath.splitext(path.removeprefix(root).partition("/")[0])[0])
    return lambda name: name.split(".")[0] in own
