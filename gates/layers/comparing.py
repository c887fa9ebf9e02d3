"""What the scan looks for in comparisons that a change adds. Pure."""

from __future__ import annotations

import ast
from typing import Final

from gates.layers.parsed import ParsedFile, names_in

_COMPARES: Final = names_in(
    "__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __contains__ __instancecheck__ __subclasscheck__"
)
_RECORDS: Final = ("dataclass", "define", "frozen", "attrs", "attr.s", "NamedTuple")


def compared_on(tree: ast.Module) -> frozenset[str]:
    """The classes of a file of the base whose objects compare by what is in them, and their fields: ``Money``,
    ``Money.amount``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        heads = [ast.unparse(each) for each in [*node.decorator_list, *node.bases]]
        own = any(isinstance(each, ast.FunctionDef) and each.name == "__eq__" for each in node.body)
        if own or any(word in head for head in heads for word in _RECORDS):
            found.add(node.name)
            found.update(
                f"{node.name}.{each.target.id}"
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            )
    return frozenset(found)


def compares(source: ParsedFile, node: ast.AST) -> str:
    """A comparison whose answer does not depend on what is compared, or is another one than on the base."""
    above = source.parents.get(node)
    if isinstance(above, ast.ClassDef) and above.name in source.compared:
        match node:
            case ast.FunctionDef(name="__eq__" | "__ne__"):
                return f"objects of {above.name} compare otherwise than on the base"
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(keywords=words)) if (
                f"{above.name}.{name}" in source.compared and any(map(_leaves_out, words))
            ):
                return f"leaves {name} out when objects of {above.name} are compared"
    match node:
        case ast.FunctionDef(name=name) if name in _COMPARES:
            other = node.args.args[1].arg if len(node.args.args) > 1 else ""
            reads = {
                each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
            }
            answers = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
            if answers and (not other or other not in reads or all(map(_decided, answers))):
                return f"{name} gives the same answer whatever it compares"
            if answers and name == "__eq__" and not _compares(node, node.args.args[0].arg, other):
                return f"{name} does not compare the two objects"
        case ast.Assign(targets=[ast.Name(id=name)]) if name in _COMPARES and isinstance(
            source.parents.get(node), ast.ClassDef
        ):
            return f"{name} gives an answer of its own"
        case ast.FunctionDef(name="__class__") | ast.Assign(targets=[ast.Name(id="__class__")]):
            return "pretends to be of another class"
        case ast.Assign(targets=[ast.Name(id="__test__")]):
            return "takes tests out of the collection: __test__"
    return ""


def _leaves_out(word: ast.keyword) -> bool:
    return word.arg in {"compare", "eq"} and isinstance(word.value, ast.Constant) and not word.value.value


def _compares(function: ast.FunctionDef, own: str, other: str) -> bool:
    """Whether some comparison or call in an ``__eq__`` has both objects in it, or leaves the answer to another."""
    for node in ast.walk(function):
        if isinstance(node, ast.Compare | ast.Call):
            names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            if isinstance(node, ast.Compare) and {own, other} <= names:
                return True
            if isinstance(node, ast.Call) and ("super" in names or (own in names and other in names)):
                return True
    return False


def _decided(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) or _yes(value)


def _yes(value: ast.expr | None) -> bool:
    match value:
        case ast.Constant(value=constant):
            return bool(constant)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Constant(value=constant)):
            return not constant
        case ast.Call(func=ast.Name(id="bool"), args=[ast.Constant(value=constant)]):
            return bool(constant)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id="object")]):
            return True
        case ast.Compare(ops=[ast.IsNot() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
            return True
        case ast.Compare(left=left, ops=[ast.Is() | ast.Eq()], comparators=[right]):
            return ast.dump(left) == ast.dump(right)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(_yes, values))
    return False
