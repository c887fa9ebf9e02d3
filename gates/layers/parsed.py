"""A parsed Python file, as the scan's rules read it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gates.layers.folding import Folding
from gates.layers.names import Names


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A parsed file. ``ours`` says whether a module belongs to the repository; ``test``: the file is a test.
    ``compared``: its classes on the base whose objects compare by what is in them."""

    tree: ast.Module
    names: Names
    ours: Callable[[str], bool]
    test: bool
    parents: dict[ast.AST, ast.AST]
    folding: Folding
    compared: frozenset[str] = frozenset()

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What is around a node, the nearest first."""
        around = self.parents.get(node)
        while around is not None:
            yield around
            around = self.parents.get(around)


def names_in(words: str) -> frozenset[str]:
    """Several names in one string, as a set."""
    return frozenset(words.split())


def by_name(table: Mapping[str, str]) -> dict[str, str]:
    """What names stand for, from those that stand for each, in one string."""
    return {name: meaning for meaning, words in table.items() for name in words.split()}


def is_local(source: ParsedFile, node: ast.AST) -> bool:
    """Whether it is in a function or a class."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    return any(isinstance(each, kinds) for each in source.above(node))
