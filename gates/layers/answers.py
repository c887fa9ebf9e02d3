"""What the scan looks for in added Python code that answers as the tests ask, and computes all else. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Final

from gates.layers.parsed import ParsedFile, names_in

_WHY: Final = "answers certain values only"
_LOADS: Final = names_in("json.load json.loads tomllib.load tomllib.loads yaml.safe_load pickle.load")
_TRIVIAL: Final = (0, 1, -1, "", None)
#: A written text that is shorter holds no answers.
_SHORT: Final = 3
_COLLECTIONS: Final = ast.Tuple | ast.List | ast.Set
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def answers(source: ParsedFile, node: ast.AST) -> str:
    """Why a piece of source answers values that are written down; empty: it does not."""
    if source.test:
        return ""
    match node:
        case ast.If(body=[ast.Return(value=ast.Constant())]) if _certain(_with_above(source, node)):
            return _WHY
        case ast.IfExp(test=test, body=ast.Constant()) if _certain([test]):
            return _WHY
        case ast.Return(value=ast.Constant()):
            return _WHY if _of_fixed_case(source, node) else ""
        case ast.Call(func=ast.Name(id=name), args=[ast.Dict(keys=[_, *_] as keys)]) if all(map(_is_fixed, keys)):
            return _WHY if _makes_missing(source, name) else ""
        case ast.Call() | ast.Subscript() | ast.Compare() if _consults(source, node):
            return _WHY
        case ast.For() | ast.GeneratorExp() | ast.ListComp() if _finds(source, node):
            return _WHY
    return ""


# --- comparisons of one argument after the other ---------------------------------------------------------


def _of_fixed_case(source: ParsedFile, node: ast.Return) -> bool:
    """Whether it is a case for several values that are written down, in a function that computes all others."""
    match source.parents.get(node):
        case ast.match_case(pattern=ast.MatchSequence(patterns=parts)):
            fixed = len(parts) > 1 and all(map(_is_fixed_part, parts))
        case ast.match_case(pattern=ast.MatchValue(value=value), guard=ast.expr() as guard):
            fixed = _is_value(value) and bool(_compared([guard]))
        case _:
            return False
    return fixed and _computes(source, node, [node], _arguments(source, node))


def _with_above(source: ParsedFile, node: ast.If) -> list[ast.expr]:
    """A condition, and those around it that have nothing else in them."""
    asked, below = [node.test], node
    above = source.parents.get(node)
    while isinstance(above, ast.If) and above.body == [below]:
        asked.append(above.test)
        below, above = above, source.parents.get(above)
    return asked


def _certain(asked: list[ast.expr]) -> bool:
    """Whether two or more arguments are compared with values that are written down."""
    if len(asked) == 1 and isinstance(asked[0], ast.UnaryOp) and isinstance(asked[0].op, ast.Not):
        return len({name for each in ast.walk(asked[0]) if (name := _is_nothing_for(each))}) > 1
    return len(_compared(asked)) > 1


def _compared(asked: list[ast.expr]) -> set[str]:
    """The names that are compared with values that are written down, all of which have to be equal."""
    pairs: list[ast.expr] = []
    for test in asked:
        pairs += test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    return {
        ast.unparse(each.left)
        for each in pairs
        if isinstance(each, ast.Compare)
        and isinstance(each.ops[0], ast.Eq)
        and isinstance(each.left, ast.Name)
        and _is_value(each.comparators[0])
    }


def _is_nothing_for(node: ast.AST) -> str:
    """The name in ``total - 200``, which is nothing for one value; empty: it is something else."""
    match node:
        case ast.BinOp(left=ast.Name(id=name), op=ast.Sub() | ast.BitXor(), right=right) if _is_value(right):
            return name
    return ""


# --- tables ----------------------------------------------------------------------------------------------


def _consults(source: ParsedFile, node: ast.Call | ast.Subscript | ast.Compare) -> bool:
    """Whether several arguments are looked up together in what is written down, by a function that also computes
    an answer from just these."""
    groups: list[list[ast.expr]] = []
    match node:
        case ast.Compare(left=left, ops=[ast.Eq() | ast.In()], comparators=[right]):
            groups = [[left], [right]] if _answers_written(source, node) else []
        case ast.Subscript() | ast.Call(func=ast.Attribute(attr="get"), args=[_, *_]):
            table, keys = _table_of(source, node)
            groups = [[table], keys]
        case ast.Call(func=func, args=args):
            groups = [[func.value if isinstance(func, ast.Attribute) else func], *([each] for each in args)]
    if not any(_is_written(source, each[0]) for each in groups):
        return False
    asked = [set[str]().union(*(_asked(source, node, each) for each in group)) for group in groups]
    one_case = isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq)
    return any(
        len(each) > 1 and (one_case or _computes(source, node, group, each))
        for each, group in zip(asked, groups, strict=True)
    )


def _table_of(source: ParsedFile, node: ast.expr, depth: int = 4) -> tuple[ast.expr, list[ast.expr]]:
    """A table, and all that it is asked for: ``TABLE[a].get(b)`` for both."""
    match source.folding.given(node) if depth < 4 else node:
        case ast.Subscript(value=inner, slice=key) if depth:
            table, keys = _table_of(source, inner, depth - 1)
        case ast.Call(func=ast.Attribute(value=inner, attr="get"), args=[key, *_]) if depth:
            table, keys = _table_of(source, inner, depth - 1)
        case _:
            return node, []
    return table, [*keys, key]


def _answers_written(source: ParsedFile, node: ast.Compare) -> bool:
    """Whether a value that is written down follows if a comparison says yes."""
    match source.parents.get(node):
        case ast.If(test=test, body=[ast.Return(value=answer)]) if test is node and answer is not None:
            return _is_value(answer) or _is_written(source, getattr(answer, "value", answer))
        case ast.IfExp(test=test, body=answer) if test is node:
            return _is_value(answer)
    return False


def _is_written(source: ParsedFile, node: ast.AST, depth: int = 3) -> bool:
    """Whether it is a table, or a text that is compared, of which all is written down."""
    match source.folding.given(node):
        case ast.Constant(value=str() as text):
            return isinstance(source.parents.get(node), ast.Compare) and len(text) > _SHORT
        case ast.Dict(keys=[_, *_] as keys, values=values):
            return all(map(_is_fixed, keys)) and all(
                isinstance(each, ast.Dict) or _is_fixed(each) for each in values
            )
        case ast.Tuple(elts=[_, _, *_] as parts) | ast.List(elts=[_, *_] as parts) | ast.Set(elts=[_, *_] as parts):
            return all(map(_is_fixed, parts)) and any(map(_is_value, _leaves(parts)))
        case ast.Call(func=func) if source.names.dotted(func) in _LOADS:
            return True
        case ast.Call(args=args) if depth:
            return any(_is_written(source, each, depth - 1) for each in args)
    return False


def _makes_missing(source: ParsedFile, name: str) -> bool:
    """Whether it is a class of this file that computes what it does not have."""
    return any(
        isinstance(each, ast.ClassDef)
        and each.name == name
        and any(isinstance(part, _Function) and part.name == "__missing__" for part in each.body)
        for each in source.tree.body
    )


def _finds(source: ParsedFile, node: ast.For | ast.GeneratorExp | ast.ListComp) -> bool:
    """Whether a loop looks for the row that has several of the arguments, in a function that also computes."""
    match node:
        case ast.For(target=target, iter=rows, body=[ast.If(test=test, body=[ast.Return(value=answer)])]):
            tests = [test]
        case ast.GeneratorExp(elt=answer, generators=[ast.comprehension(target=target, iter=rows, ifs=tests)]):
            pass
        case _:
            return False
    own, asked = _names(target), set[str]()
    if answer is None or own.isdisjoint(_names(answer)) or _asked(source, node, rows):
        return False
    for each in (part for test in tests for part in ast.walk(test)):
        match each:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                for side, other in ((left, right), (right, left)):
                    if _names(side) & own and not _names(other) & own:
                        asked |= _asked(source, node, other)
    return len(asked) > 1 and _computes(source, node, tests, asked)


# --- what a function is given ------------------------------------------------------------------------------


def _around(source: ParsedFile, node: ast.AST) -> _Function | None:
    """The function around it."""
    return next((each for each in source.above(node) if isinstance(each, _Function)), None)


def _arguments(source: ParsedFile, node: ast.AST) -> set[str]:
    above = _around(source, node)
    if above is None:
        return set()
    every = above.args
    return {each.arg for each in (*every.posonlyargs, *every.args, *every.kwonlyargs)} - {"self", "cls"}


def _asked(source: ParsedFile, node: ast.AST, part: ast.AST) -> set[str]:
    """The arguments of the function around ``node`` that a part depends on; ``*given`` are several."""
    named = [each for each in ast.walk(part) if isinstance(each, ast.Name)]
    if not named:
        return set()
    above = _around(source, node)
    names = set[str]().union(*(_names(source.folding.given(each)) | {each.id} for each in named))
    rest = above.args.vararg.arg if above is not None and above.args.vararg else ""
    return names & _arguments(source, node) | ({rest, f"*{rest}"} if rest in names else set())


def _computes(source: ParsedFile, node: ast.AST, keys: Iterable[ast.AST], asked: set[str]) -> bool:
    """Whether the function around it, the ``keys`` aside, also computes an answer from several of these."""
    above, between = _around(source, node), set(source.above(node))
    if above is None:
        return False
    own = between.union(*map(ast.walk, keys))
    for part in ast.walk(above):
        match part:
            case ast.BinOp() if part not in own and len(asked & _names(part)) > 1:
                return True
            case ast.Starred(value=ast.Name(id=name), ctx=ast.Load()) if f"*{name}" in asked and part not in own:
                return True
    return False


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _leaves(parts: list[ast.expr]) -> list[ast.expr]:
    return [leaf for each in parts for leaf in (each.elts if isinstance(each, _COLLECTIONS) else [each])]


def _is_fixed(key: ast.expr | None) -> bool:
    return key is not None and all(isinstance(each, ast.Constant) for each in _leaves([key]))


def _is_fixed_part(part: ast.pattern) -> bool:
    return isinstance(part, ast.MatchValue) and _is_value(part.value)


def _is_value(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not any(node.value is each or node.value == each for each in _TRIVIAL)
