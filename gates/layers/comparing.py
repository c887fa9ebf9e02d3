"""What the scan looks for in comparisons that a change adds. Pure."""

from __future__ import annotations

import ast
from typing import Final

from gates.layers.parsed import ParsedFile, names_in

_COMPARES: Final = names_in(
    "__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __contains__ __instancecheck__ __subclasscheck__"
)
#: The same answer to everything makes these lie: ``abs(found - wanted) < 0.01``, ``not problems(text)``.
_COMPUTES: Final = names_in(
    "__sub__ __rsub__ __add__ __radd__ __mul__ __rmul__ __truediv__ __mod__ __and__ __xor__ __array_ufunc__"
)
_EMPTY: Final = names_in("__bool__ __len__")
_PLAIN: Final = names_in("int float complex str bytes tuple list dict set frozenset Decimal Fraction")
_KEEPS: Final = "keeps every error of its block to itself, a test's failures too"
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
        case ast.ClassDef() if _compares_nothing(node):
            return f"all objects of {node.name} are equal: none of their parts is compared"
        case ast.FunctionDef(name="__new__") if isinstance(above, ast.ClassDef) and _drops_all(above, node):
            return f"all objects of {above.name} are equal: what they are made from is dropped"
        case ast.FunctionDef(name=name) if name in _EMPTY and isinstance(above, ast.ClassDef):
            answers = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
            if _is_plain(above) and answers and all(map(_decided, answers)):
                return f"{name} gives the same answer whatever is in it"
        case ast.FunctionDef(name=name) if name in _COMPUTES and isinstance(above, ast.ClassDef):
            answers = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
            if answers and all(isinstance(each, ast.Constant) for each in answers):
                return f"{name} gives the same answer whatever it is given"
        case ast.FunctionDef(name=name) if name in _COMPARES:
            taken = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
            other = taken[1] if len(taken) > 1 else ""
            reads = {
                each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
            }
            answers = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
            if answers and (not other or other not in reads or all(map(_decided, answers))):
                return f"{name} gives the same answer whatever it compares"
            if answers and name == "__eq__" and not _compares(node, taken[0], other):
                return f"{name} does not compare the two objects"
        case ast.Assign(targets=[ast.Name(id=name)]) if name in _COMPARES and isinstance(
            source.parents.get(node), ast.ClassDef
        ):
            return f"{name} gives an answer of its own"
        case ast.keyword(arg="eq" | "cmp", value=ast.Lambda(body=answer)) if _decided(answer):
            return "eq gives the same answer whatever it compares"
        case ast.keyword(arg=str() as name) if name in _COMPARES:
            return f"{name} gives an answer of its own"
        case ast.FunctionDef(name="__exit__" | "__aexit__") | ast.AsyncFunctionDef(name="__aexit__"):
            return _KEEPS if _keeps_all(node) else ""
        case ast.Try() if _keeps_from_context(source, node):
            return _KEEPS
        case ast.ClassDef() if same := _same_members(node):
            return f"members of {node.name} are the same: {same}"
        case ast.FunctionDef(name="__class__") | ast.Assign(targets=[ast.Name(id="__class__")]):
            return "pretends to be of another class"
        case ast.Assign(targets=[ast.Name(id="__test__")]):
            return "takes tests out of the collection: __test__"
    return ""


def _keeps_all(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the end of a context keeps errors to itself without a look at them."""
    given = {each.arg for each in (*node.args.args[1:], node.args.vararg) if each is not None}
    asked = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    answers = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
    no = all(each is None or (isinstance(each, ast.Constant) and not each.value) for each in answers)
    return not no and given.isdisjoint(asked)


def _keeps_from_context(source: ParsedFile, node: ast.Try) -> bool:
    """Whether a generator that is a context keeps any error of its block to itself."""
    functions = (each for each in source.above(node) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
    above = next(functions, None)
    if above is None or not any("contextmanager" in ast.unparse(each) for each in above.decorator_list):
        return False
    yields = any(isinstance(part, ast.Yield) for each in node.body for part in ast.walk(each))
    kept = [each for each in node.handlers if not any(isinstance(part, ast.Raise) for part in ast.walk(each))]
    return yields and any(
        each.type is None or ast.unparse(each.type) in ("Exception", "BaseException") for each in kept
    )


def _same_members(node: ast.ClassDef) -> str:
    """The members of an enumeration that have one value; empty: there are none."""
    if not any(ast.unparse(each).rpartition(".")[2] in ("Enum", "StrEnum", "IntEnum") for each in node.bases):
        return ""
    by_value: dict[str, list[str]] = {}
    for each in node.body:
        match each:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                by_value.setdefault(repr(value), []).append(name)
    return next((", ".join(names) for names in by_value.values() if len(names) > 1), "")


def _is_plain(node: ast.ClassDef) -> bool:
    """Whether it extends a number, a text or a container of Python's."""
    return any(ast.unparse(each).rpartition(".")[2] in _PLAIN for each in node.bases)


def _drops_all(node: ast.ClassDef, new: ast.FunctionDef) -> bool:
    """Whether ``__new__`` of such a class is given values, and gives none of them to what it extends."""
    given = {each.arg for each in (*new.args.args[1:], *new.args.kwonlyargs)}
    made = [
        each
        for each in ast.walk(new)
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "__new__"
    ]
    return _is_plain(node) and bool(given and made) and not any(each.args[1:] or each.keywords for each in made)


def _compares_nothing(node: ast.ClassDef) -> bool:
    """Whether a data class leaves all that it has out of its comparison, or has no part that it compares."""
    made = [each for each in node.decorator_list if ast.unparse(each).split("(")[0].endswith("dataclass")]
    if not made or node.bases or any(isinstance(each, ast.Call) and _of_identity(each) for each in made):
        return False
    if any(isinstance(each, ast.FunctionDef) and each.name == "__eq__" for each in node.body):
        return False
    parts = [each for each in node.body if isinstance(each, ast.AnnAssign) and not _of_class(each)]
    compared = [
        each
        for each in parts
        if not (isinstance(each.value, ast.Call) and any(map(_leaves_out, each.value.keywords)))
    ]
    own = any(isinstance(each, ast.FunctionDef) and each.name == "__init__" for each in node.body)
    return not compared and (bool(parts) or own)


def _of_identity(made: ast.Call) -> bool:
    return any(
        each.arg == "eq" and isinstance(each.value, ast.Constant) and not each.value.value for each in made.keywords
    )


def _of_class(part: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(part.annotation)


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
