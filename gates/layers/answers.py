"""What the scan looks for in added Python code that answers as the tests ask, and computes all else. Pure."""

from __future__ import annotations

import ast
from typing import Final

from gates.layers.parsed import ParsedFile, names_in

_WHY: Final = "answers certain values only"
_LOADS: Final = names_in("json.load json.loads tomllib.load tomllib.loads yaml.safe_load pickle.load")
_TRIVIAL: Final = (0, 1, -1, "", None)


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
            return _WHY if _of_fixed_case(source.parents.get(node)) and _computes(source, node) else ""
        case ast.Call() | ast.Subscript() if _looks_up(source, node) and _computes(source, node):
            return _WHY
    return ""


def _of_fixed_case(case: ast.AST | None) -> bool:
    """Whether it is a case for several values that are written down."""
    match case:
        case ast.match_case(pattern=ast.MatchSequence(patterns=parts)):
            return len(parts) > 1 and all(map(_is_fixed_part, parts))
    return False


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
    pairs: list[ast.expr] = []
    for test in asked:
        match test:
            case ast.Compare(left=ast.Tuple(elts=left), ops=[ast.Eq()], comparators=[ast.Tuple(elts=right)]):
                return len(left) > 1 and all(map(_is_name, left)) and all(map(_is_value, right))
            case ast.BoolOp(op=ast.And(), values=values):
                pairs += values
            case ast.Compare():
                pairs.append(test)
    sure = {
        ast.unparse(each.left)
        for each in pairs
        if isinstance(each, ast.Compare)
        and isinstance(each.ops[0], ast.Eq)
        and _is_name(each.left)
        and _is_value(each.comparators[0])
    }
    return len(sure) > 1


def _looks_up(source: ParsedFile, node: ast.Call | ast.Subscript) -> bool:
    """Whether several arguments, as a tuple, as one text or one after the other, are looked up in a table."""
    match node:
        case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[asked, *_]):
            pass
        case ast.Subscript(value=table, slice=asked):
            pass
        case _:
            return False
    known = source.folding.given(table)
    several = isinstance(asked, ast.Tuple) and len(asked.elts) > 1 and all(map(_is_name, asked.elts))
    parts = asked.values if isinstance(asked, ast.JoinedStr) else []
    as_text = sum(isinstance(each, ast.FormattedValue) for each in parts) > 1
    if isinstance(known, ast.Dict):
        return (several or as_text) and bool(known.keys) and all(map(_is_fixed_key, known.keys))
    if isinstance(known, ast.Call) and source.names.dotted(known.func) in _LOADS:
        return several or as_text
    match known:  # a table of tables
        case ast.Call(func=ast.Attribute(value=outer, attr="get")) | ast.Subscript(value=outer):
            tables = source.folding.given(outer)
            inner = tables.values if isinstance(tables, ast.Dict) else []
            return _is_name(asked) and bool(inner) and all(isinstance(each, ast.Dict) for each in inner)
    return False


def _computes(source: ParsedFile, node: ast.AST) -> bool:
    """Whether the function around it also computes an answer from what it is given, for all else."""
    above, around = source.parents.get(node), set[ast.AST]()
    while above is not None and not isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
        around.add(above)
        above = source.parents.get(above)
    if above is None:
        return False
    given = {each.arg for each in (*above.args.posonlyargs, *above.args.args, *above.args.kwonlyargs)}
    key = set(ast.walk(node.slice)) if isinstance(node, ast.Subscript) else set()
    sums = [part for part in ast.walk(above) if isinstance(part, ast.BinOp) and part not in key | around]
    return any(len(given & _names(part)) > 1 for part in sums)


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _is_fixed_key(key: ast.expr | None) -> bool:
    fixed = isinstance(key, ast.Tuple) and all(isinstance(each, ast.Constant) for each in key.elts)
    return fixed or (isinstance(key, ast.Constant) and isinstance(key.value, str))


def _is_fixed_part(part: ast.pattern) -> bool:
    return isinstance(part, ast.MatchValue) and _is_value(part.value)


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name)


def _is_value(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not any(node.value is each or node.value == each for each in _TRIVIAL)
