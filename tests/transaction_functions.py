"""What a function that runs inside a transaction must not do: remember something, or write a file.

Its transaction may be rolled back after it, and memory is not. Read from the syntax tree alone: aliases through
calls and other modules are not followed, helpers of the same file are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

#: What makes a function a transaction function: a parameter of such a type, or of such a name in a lambda.
TAKEN = {"Tx", "Posts"}
UNWRITTEN = {"tx", "posts"}

#: Methods that change a list, dict, set, deque, queue or event in place.
MUTATORS = {
    *("append", "appendleft", "extend", "insert", "add", "update", "setdefault"),
    *("pop", "popleft", "popitem", "remove", "discard", "clear", "sort", "reverse"),
    *("put_nowait", "set", "notify", "notify_all", "set_result", "set_exception"),
}

#: Calls that write a file. (Retention removes files in a transaction, so that nobody begins to need one meanwhile.)
FILE_CALLS = {
    *("open", "write_text", "write_bytes", "touch", "mkdir", "makedirs", "chmod", "fsync"),
    *("symlink_to", "hardlink_to", "copyfile", "copytree"),
}


@dataclass(slots=True)
class _Scope:
    """``kept``: names whose objects outlive the transaction; ``own``: names whose objects do not."""

    own: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    tx: set[str] = field(default_factory=set)


def breaches(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Each statement of a transaction function that remembers or writes a file, and what it does."""
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    helpers = _Helpers(tree)
    seen: set[int] = set()
    found: dict[int, tuple[ast.AST, str]] = {}
    for function, owner in helpers.every:
        if names := _tx_names(function):
            found.update(_searched(function, owner, helpers, imported, names, seen))
    yield from sorted(found.values(), key=lambda pair: (getattr(pair[0], "lineno", 0), pair[1]))


def _searched(
    function: Function, owner: str, helpers: _Helpers, imported: set[str], tx: set[str], seen: set[int]
) -> dict[int, tuple[ast.AST, str]]:
    """The breaches in a function and in the helpers that it calls, by the node's identity."""
    if id(function) in seen:
        return {}
    seen.add(id(function))
    scope = _scope(function, imported, tx)
    found = {id(node): (node, what) for node, what in _within(function, scope)}
    for node in _body(function):
        if isinstance(node, ast.Call) and (helper := helpers.called(node, owner)) is not None:
            found.update(_searched(helper, owner, helpers, imported, _tx_names(helper), seen))
    return found


class _Helpers:
    """The functions of a file: methods by class and name, others by name."""

    def __init__(self, tree: ast.Module) -> None:
        self.every: list[tuple[Function, str]] = []
        self._named: dict[tuple[str, str], Function] = {}
        self._collect(tree, "", top=True)

    def called(self, node: ast.Call, owner: str) -> Function | None:
        match node.func:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                return self._named.get((owner, name))
            case ast.Name(id=name):
                return self._named.get(("", name))
        return None

    def _collect(self, node: ast.AST, owner: str, *, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                self._collect(child, child.name, top=True)
                continue
            if isinstance(child, Function):
                self.every.append((child, owner))
                if top and not isinstance(child, ast.Lambda):
                    self._named[owner, child.name] = child
            self._collect(child, owner, top=top and not isinstance(child, Function))


def _tx_names(function: Function) -> set[str]:
    """The parameters that are a transaction: annotated so, or called so where nothing can be annotated."""
    names: set[str] = set()
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        annotation = ast.unparse(argument.annotation) if argument.annotation is not None else ""
        if annotation.strip("'\"").rpartition(".")[2] in TAKEN or (not annotation and argument.arg in UNWRITTEN):
            names.add(argument.arg)
    return names


def _scope(function: Function, imported: set[str], tx: set[str]) -> _Scope:
    scope = _Scope(imported=imported, tx=tx)
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        # What a function is given may be its caller's own; a new object is nobody else's yet.
        made = isinstance(function, ast.FunctionDef) and function.name in ("__init__", "__post_init__")
        (scope.kept if argument.arg in ("self", "cls") and not made else scope.own).add(argument.arg)
    nodes = list(_body(function))
    for node in nodes:
        if isinstance(node, ast.Global):
            scope.kept.update(node.names)
        for target, value in _bindings(node):
            for name in _names(target):
                aliased = value is not None and _root(value) is not None and not _is_own(value, scope)
                (scope.kept if aliased else scope.own).add(name)
    inner = {id(part) for node in nodes if isinstance(node, Function) for part in ast.walk(node)}
    for node in nodes:
        if isinstance(node, ast.Nonlocal):  # in a function within this one, the name may be this one's
            scope.kept.update(set(node.names) - scope.own if id(node) in inner else node.names)
    scope.own -= scope.kept
    return scope


def _bindings(node: ast.AST) -> Iterator[tuple[ast.AST, ast.expr | None]]:
    """Names that a node binds, with the expression whose object they then name."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets)
        case ast.AnnAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield target, value
        case ast.withitem(optional_vars=ast.AST() as target):
            yield target, None
        case ast.FunctionDef(name=name) | ast.ExceptHandler(name=str(name)):
            yield ast.Name(name), None
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield ast.Name(name), None
        case ast.arg(arg=name):
            yield ast.Name(name), None


def _within(function: Function, scope: _Scope) -> Iterator[tuple[ast.AST, str]]:
    for node in _body(function):
        match node:
            case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                for target in targets:
                    yield from _stored(target, scope)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                yield from _stored(target, scope)
            case ast.Nonlocal(names=names) | ast.Global(names=names):
                if outer := sorted(set(names) & scope.kept):
                    yield node, f"assigns the outer name {', '.join(outer)}"
            case ast.Call():
                yield from _calls(node, scope)


def _stored(target: ast.AST, scope: _Scope) -> Iterator[tuple[ast.AST, str]]:
    match target:
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _stored(part, scope)
        case ast.Attribute() | ast.Subscript() if not _is_own(target, scope):
            yield target, f"assigns {ast.unparse(target)}"


def _calls(node: ast.Call, scope: _Scope) -> Iterator[tuple[ast.AST, str]]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if isinstance(node.func, ast.Attribute):
        name, held = node.func.attr, node.func.value
        in_transaction = any(isinstance(given, ast.Name) and given.id in scope.tx for given in node.args)
        module = isinstance(held, ast.Name) and held.id in scope.imported
        if in_transaction:  # a write function of the store's, whatever it is called
            return
        if name in MUTATORS and not module and not _is_own(held, scope):
            yield node, f"changes {ast.unparse(held)} by {name}()"
    elif name in ("setattr", "delattr") and node.args and not _is_own(node.args[0], scope):
        yield node, f"assigns an attribute of {ast.unparse(node.args[0])}"
    if name in FILE_CALLS:
        yield node, f"writes a file by {name}()"


def _is_own(node: ast.expr | ast.AST, scope: _Scope) -> bool:
    """Whether the object belongs to the function or its transaction. What a call or a literal gives is its own."""
    root = _root(node)
    return root is None or root in scope.own or root in scope.tx


def _root(node: ast.AST) -> str | None:
    """The name at the left of ``name.attribute[key]``; ``None`` for other expressions."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _names(target: ast.AST) -> Iterator[str]:
    match target:
        case ast.Name(id=name):
            yield name
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _names(part)
        case ast.Starred(value=value):
            yield from _names(value)


def _body(function: Function) -> Iterator[ast.AST]:
    """Every node of a function except what it hands to ``after_commit``, which runs once nothing can be undone."""
    left: list[ast.AST] = list(function.body) if isinstance(function.body, list) else [function.body]
    later = {
        given.id
        for node in ast.walk(function)
        if _is_after_commit(node)
        for given in node.args
        if isinstance(given, ast.Name)
    }
    while left:
        node = left.pop(0)
        yield node
        if not _is_after_commit(node) and not (isinstance(node, ast.FunctionDef) and node.name in later):
            left[:0] = ast.iter_child_nodes(node)


def _is_after_commit(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "after_commit"
