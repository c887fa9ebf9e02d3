"""Finds transaction functions that remember before the commit: a rule of ``tests/walls.py``.

A transaction may be rolled back. What a function in it assigned elsewhere then says more than the store.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_MUTATES = {
    *("append", "appendleft", "add", "insert", "extend", "update", "setdefault"),
    *("pop", "popleft", "remove", "discard", "clear"),
}


def breaches(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Each assignment or change, inside a function that takes a transaction, to something that outlives it."""
    for function in ast.walk(tree):
        if isinstance(function, Function) and _takes_tx(function):
            yield from _remembered(function)


def _takes_tx(function: Function) -> bool:
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return any(name.arg == "tx" or _words(name.annotation) == "Tx" for name in given)


def _words(annotation: ast.expr | None) -> str:
    return ast.unparse(annotation).strip("'\"") if annotation is not None else ""


def _remembered(function: Function) -> Iterator[tuple[ast.AST, str]]:
    nodes = list(_own(function))
    local = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.Nonlocal | ast.Global):
            yield node, ", ".join(node.names)
        elif isinstance(node, ast.Attribute | ast.Subscript):
            if not isinstance(node.ctx, ast.Load) and _root(node) not in local:
                yield node, ast.unparse(node)
        elif isinstance(node, ast.Call) and _mutates(node) and _root(node.func) not in local:
            yield node, ast.unparse(node.func)


def _mutates(call: ast.Call) -> bool:
    """Whether the call changes a container. What is given a transaction is a function of the store."""
    given_tx = any(isinstance(word, ast.Name) and word.id == "tx" for word in call.args)
    return isinstance(call.func, ast.Attribute) and call.func.attr in _MUTATES and not given_tx


def _own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions inside it: these run when they are called."""
    waiting: list[ast.AST] = list(function.body) if isinstance(function.body, list) else [function.body]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
