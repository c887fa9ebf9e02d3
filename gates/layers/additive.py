"""Whether a change to a test file only adds tests: everything that was there is still there, unchanged. Pure."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Final

_HOOKS: Final = ("setup", "teardown", "pytest_", "__", "setUp", "tearDown", "addClassCleanup", "load_tests")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def only_adds_tests(old: bytes, new: bytes) -> bool:
    """Whether ``new`` is ``old`` with more tests, imports, helpers and constants under new names."""
    try:
        before, after = ast.parse(old), ast.parse(new)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return _grown(before.body, after.body, _names(before), tests_only=False)


def _grown(before: Sequence[ast.stmt], after: Sequence[ast.stmt], taken: set[str], *, tests_only: bool) -> bool:
    at = 0
    for statement in after:
        if at < len(before) and _same_or_grown(before[at], statement, taken):
            at += 1
        elif not _new_test(statement, taken, tests_only=tests_only):
            return False
    return at == len(before)


def _same_or_grown(old: ast.stmt, new: ast.stmt, taken: set[str]) -> bool:
    if ast.dump(old) == ast.dump(new):
        return True
    if isinstance(old, ast.ImportFrom) and isinstance(new, ast.ImportFrom):
        more = [alias for alias in new.names if ast.dump(alias) not in {ast.dump(each) for each in old.names}]
        kept = len(new.names) - len(more) == len(old.names)
        return kept and (old.module, old.level) == (new.module, new.level) and _unused(more, taken)
    if isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef):
        heads = [
            [each.name, *map(ast.dump, [*each.bases, *each.keywords, *each.decorator_list])] for each in (old, new)
        ]
        own = {each.name for each in old.body if isinstance(each, _Function)}
        return heads[0] == heads[1] and _grown(old.body, new.body, own, tests_only=True)
    return False


def _new_test(node: ast.stmt, taken: set[str], *, tests_only: bool) -> bool:
    """Whether a new statement cannot change what the old ones do."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            fits = node.name.startswith("test") or (not tests_only and not node.name.startswith(_HOOKS))
            return fits and node.name not in taken and _quiet_head(node)
        case ast.ClassDef() if not tests_only:
            return node.name not in taken and _quiet_head(node) and all(map(_in_new_class, node.body))
        case ast.Import() | ast.ImportFrom() if not tests_only:
            return _unused(node.names, taken)
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if not tests_only:
            return name not in taken and not name.startswith(("pytest", "__")) and _literal(value)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _in_new_class(node: ast.stmt) -> bool:
    """Whether a statement of a new class runs nothing when the class is made."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return _quiet_head(node)
        case ast.ClassDef():
            return _quiet_head(node) and all(map(_in_new_class, node.body))
        case ast.Assign(targets=[ast.Name()], value=value):
            return _literal(value)
        case ast.AnnAssign(target=ast.Name(), annotation=annotation, value=value):
            return _calls_nothing(annotation) and (value is None or _literal(value))
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _quiet_head(node: _Function | ast.ClassDef) -> bool:
    """Whether a head runs nothing when it is read: decorators, bases, defaults, annotations."""
    if not all(map(_harmless, node.decorator_list)):
        return False
    if isinstance(node, ast.ClassDef):
        return not node.keywords and all(map(_calls_nothing, node.bases))
    return _calls_nothing(node.args) and (node.returns is None or _calls_nothing(node.returns))


def _calls_nothing(tree: ast.AST) -> bool:
    return not any(isinstance(node, ast.Call | ast.NamedExpr | ast.comprehension) for node in ast.walk(tree))


def _harmless(decorator: ast.expr) -> bool:
    called = decorator
    if isinstance(decorator, ast.Call):
        called = decorator.func
        if any(keyword.arg is None for keyword in decorator.keywords):
            return False  # its words are known only when it runs
    words = ast.unparse(called)
    fixture = words == "pytest.fixture" and "autouse" not in ast.unparse(decorator)
    return fixture or words.startswith("pytest.mark.") or words in {"staticmethod", "classmethod", "dataclass"}


def _unused(aliases: Sequence[ast.alias], taken: set[str]) -> bool:
    bound = {(alias.asname or alias.name).split(".")[0] for alias in aliases}
    new_modules = all(alias.asname is None and "." in alias.name for alias in aliases)
    return "*" not in bound and (new_modules or bound.isdisjoint(taken))


def _literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _names(tree: ast.AST) -> set[str]:
    """Every name that a module binds or uses, fixtures' names as arguments included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias():
                found.add((node.asname or node.name).split(".")[0])
    return found
