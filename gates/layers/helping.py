"""What tests depend on outside of their own files: data, helpers, examples in documents; tests of other names.

Pure.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Collection, Iterator
from typing import Final

from fleet.git.changes import ChangedPath
from fleet.verdict import HeldPlace
from gates.layers.additive import only_adds_tests
from gates.layers.grammars import LANGUAGES
from gates.layers.paths import is_test
from gates.layers.protocol import Change

_DIRECTORIES: Final = frozenset(
    {"testdata", "test_data", "test-data", "testing", "fixtures", "__fixtures__", "__mocks__", "golden", "goldens"}
    | {"snapshots", "testutil", "testutils", "test_utils", "test-utils", "e2e", "cassettes"}
)
_NAMES: Final = re.compile(
    r"(testing|test_?utils?|test_?helpers?|testcases?)\.\w+|.*\.(golden|approved\.\w+|feature)"
)
_FRAMEWORKS: Final = frozenset({"pytest", "_pytest", "unittest", "hypothesis", "nose", "testing"})
#: The same in Go, JavaScript and TypeScript.
_IMPORTS_FRAMEWORK: Final = re.compile(
    rb"""(?m)^\s*(import\s+)?(\w+\s+)?"testing"\s*$|(from|require\(|import)\s*["'](node:test|vitest|chai|@jest/globals)["']"""
)
#: Files that tests may read, and that change for other reasons.
_ORDINARY: Final = re.compile(r"(pyproject\.toml|setup\.cfg|package\.json|.*\.(md|rst|py))")


def of_helpers(change: Change) -> Iterator[HeldPlace]:
    """Data and helpers of tests that the change edits or deletes."""
    for each in _edited(change):
        *directories, name = each.path.lower().split("/")
        if not _DIRECTORIES.isdisjoint(directories) or _NAMES.fullmatch(name):
            if not (each.path.endswith(".py") and _grows(change, each.path)):
                yield HeldPlace(each.path, 0, "changes data or a helper of tests")
        elif each.path.endswith(".py") and (why := _helps(change, each.path)):
            yield HeldPlace(each.path, 0, why)
        elif each.path.endswith(tuple(LANGUAGES)) and _IMPORTS_FRAMEWORK.search(change.old.get(each.path, b"")):
            yield HeldPlace(each.path, 0, "changes a helper of tests: it uses a test framework")


def of_names(change: Change, tests: Collection[str], data: Collection[str]) -> Iterator[HeldPlace]:
    """Tests of the base in files that are no tests by their name, and what tests of the base read by themselves.
    ``tests``: the base's tests, as pytest names them."""
    read = set(data)
    within: dict[str, list[str]] = {}
    for test in tests:
        path, _, name = test.partition("::")
        within.setdefault(path, []).append(name)
    for each in change.paths:
        path = each.path
        if each.status == "A":
            if path in read and not is_test(path):
                yield HeldPlace(path, 0, "adds data that tests of the base looked for")
            continue
        if is_test(path):
            continue
        if path in read and not _ORDINARY.fullmatch(posixpath.basename(path)):
            yield HeldPlace(path, 0, "changes data that tests of the base read")
        if path not in within:
            continue
        old, new = change.old.get(path), change.new.get(path, b"")
        if old is None or _examples(path, old) - _examples(path, new):
            yield HeldPlace(path, 0, "changes examples that are tests of the base")
        elif (
            path.endswith(".py")
            and not _grows(change, path)
            and _functions(old, within[path]) != _functions(new, within[path])
        ):
            yield HeldPlace(path, 0, "changes a test of the base")


def _edited(change: Change) -> list[ChangedPath]:
    return [each for each in change.paths if each.status != "A" and not is_test(each.path)]


def _grows(change: Change, path: str) -> bool:
    old, new = change.old.get(path), change.new.get(path)
    return old is not None and new is not None and only_adds_tests(old, new)


def _helps(change: Change, path: str) -> str:
    """Why a source file of the base is a helper of tests that is no longer the same; empty: it is not."""
    before = _parsed(change.old.get(path))
    if before is None or _grows(change, path):
        return ""
    after = _parsed(change.new.get(path))
    if any(_is_of_framework(each) for each in before.body):
        same = after is not None and ast.dump(before) == ast.dump(after)
        return "" if same else "changes a helper of tests: it uses a test framework"
    now = {} if after is None else {each.name: ast.dump(each) for each in _all_functions(after)}
    weaker = [
        each.name for each in _all_functions(before) if _only_asserts(each) and now.get(each.name) != ast.dump(each)
    ]
    return f"changes what only asserts: {weaker[0]}" if weaker else ""


def _parsed(data: bytes | None) -> ast.Module | None:
    try:
        return None if data is None else ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_of_framework(node: ast.stmt) -> bool:
    match node:
        case ast.Import(names=names):
            return any(each.name.split(".")[0] in _FRAMEWORKS for each in names)
        case ast.ImportFrom(module=str() as module, level=0):
            return module.split(".")[0] in _FRAMEWORKS
    return False


def _all_functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def _only_asserts(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether all that a function is for is to fail: it asserts, and gives nothing back."""
    asserts = [each for each in ast.walk(function) if _asserts(each)]
    gives = any(
        isinstance(each, ast.Yield | ast.YieldFrom) or (isinstance(each, ast.Return) and each.value is not None)
        for each in ast.walk(function)
    )
    statements = [each for each in ast.walk(function) if isinstance(each, ast.stmt)]
    return bool(asserts) and not gives and len(asserts) * 2 >= len(statements) - 1


def _asserts(node: ast.AST) -> bool:
    match node:
        case ast.Assert():
            return True
        case ast.Raise(exc=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
            return name == "AssertionError"
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name))):
            return owner in ("self", "pytest", "case", "test") and name.startswith(("assert", "fail"))
    return False


def _functions(data: bytes, names: Collection[str]) -> dict[str, str]:
    """What the functions of these tests are, by their names; without a tree: nothing."""
    tree = _parsed(data)
    wanted = {re.sub(r"\[.*", "", name, flags=re.DOTALL).rpartition("::")[2] for name in names}
    return (
        {} if tree is None else {each.name: ast.dump(each) for each in _all_functions(tree) if each.name in wanted}
    )


def _examples(path: str, data: bytes) -> set[tuple[str, str]]:
    """The examples of a document, or of the documentation in a source file, and what they should print."""
    texts = [data.decode("utf-8", "replace")]
    if path.endswith(".py"):
        tree = _parsed(data)
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        texts = (
            []
            if tree is None
            else [ast.get_docstring(each) or "" for each in ast.walk(tree) if isinstance(each, kinds)]
        )
    texts = [text for text in texts if ">>>" in text]
    if not texts:
        return set()
    import doctest  # loads a debugger, which few changes need

    found = set()
    for text in texts:
        try:
            examples = doctest.DocTestParser().get_examples(text)
        except ValueError:
            continue
        found |= {(each.source, each.want) for each in examples}
    return found
