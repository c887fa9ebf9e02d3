"""Finds names that do not say what they stand for: loop variables called ``one``, two classes of one name."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

EMPTY = {"one", "ones"}


def loop_names(nodes: Iterable[ast.AST]) -> Iterator[ast.Name]:
    """The loop variables, those of comprehensions included, whose name says nothing."""
    for node in nodes:
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            for part in ast.walk(node.target):
                if isinstance(part, ast.Name) and part.id in EMPTY:
                    yield part


def shared_names(files: Mapping[str, Iterable[ast.AST]]) -> Iterator[tuple[str, list[str]]]:
    """Each class name that several classes have, with the places of all. ``files``: their nodes, by path."""
    places: dict[str, list[str]] = {}
    for path, nodes in sorted(files.items()):
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    yield from ((name, found) for name, found in sorted(places.items()) if len(found) > 1)
