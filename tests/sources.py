"""What the rules of ``walls.py`` read: a Python file, its nodes and its imports. Nothing is imported, only read."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Source:
    """A Python file of the tree: ``path`` is relative, with forward slashes. Walked once for
    all rules."""

    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.split("/", 1)[0]

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def imported(self) -> Sequence[tuple[str, ast.AST]]:
        return tuple(imports(self))

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


def imports(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Every dotted name the file imports, at its top or inside functions, with its node."""
    base = source.path.removesuffix(".py").split("/")
    for node in source.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            stem = ".".join(base[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (stem, node.module or "")))
            for alias in node.names:
                yield f"{module}.{alias.name}", node
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"} and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value, node


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
