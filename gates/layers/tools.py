"""Layer 2: what runs the tests comes from outside the change.

Held are files that configure Python or the test runner, and new modules that Python would import in place of
others: of the standard library, of a tool, or of the repository itself.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from fleet.config import LayerName
from fleet.verdict import HeldPlace
from gates.layers.additive import only_adds_tests
from gates.layers.configuration import Runner, applying, is_configuration, partly_read, parts_differ
from gates.layers.paths import configures, folded, is_test, is_test_module
from gates.layers.protocol import Case, Change, LayerFinding, Runs, Toolchain

CONFIGURES: Final = "configures how tests run"
_TOOLS: Final = frozenset(
    {"pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "xdist", "execnet", "coverage", "pytest_cov"}
    | {"hypothesis", "attr", "attrs", "exceptiongroup", "tomli", "colorama", "pygments", "setuptools", "mock"}
    | {"pkg_resources", "_distutils_hack", "typing_extensions", "sitecustomize", "usercustomize", "pytest_asyncio"}
)
_STANDARD: Final = (sys.stdlib_module_names | {"distutils", "asyncore", "imp"}) - {"test", "this", "antigravity"}
_IMPORTABLE: Final = (".py", ".pyc", ".so", ".pyd")


class Tools:
    """Holds configuration and stand-ins."""

    number = 2
    name = LayerName.TOOLS

    def inspect(self, case: Case) -> LayerFinding:
        change = case.change
        held = [HeldPlace(path, 0, CONFIGURES) for path in configuration(change, case.definition.argv)]
        held += [HeldPlace(path, 0, "is a link that tests could go through") for path in _links(change)]
        held += [
            HeldPlace(each.path, 0, "would be loaded in place of an installed package")
            for each in change.paths
            if "node_modules" in each.path.split("/")[:-1]
        ]
        if case.toolchain is Toolchain.PYTEST or _runs_python(case.definition.argv):
            held += _stand_ins(change)
        return LayerFinding(held=tuple(held))

    def judge(self, case: Case, runs: Runs) -> LayerFinding:
        paths = new_modules(case.change)
        return LayerFinding(
            held=tuple(
                HeldPlace(paths.get(name, ""), 0, f"would be imported in place of the installed module {name}")
                for name in runs.report.head.stand_ins
            )
        )


def new_modules(change: Change) -> dict[str, str]:
    """The modules that a change adds where Python would find them, with their files."""
    roots = import_roots(change.base)
    added = [each.path for each in change.paths if each.status == "A" and not is_test_module(each.path)]
    return {name: path for path in added for root in roots if (name := _module(path, root))}


def _runs_python(argv: Iterable[str]) -> bool:
    return any("python" in word for word in argv)


def configuration(change: Change, argv: Sequence[str]) -> list[str]:
    """The changed files that configure Python, or that what a gate's command runs reads as configuration."""
    tools = applying(argv)
    return [path for path in (each.path for each in change.paths) if _shapes_tests(change, path, tools)]


def _shapes_tests(change: Change, path: str, tools: Sequence[Runner]) -> bool:
    name = folded(path)
    if _only_fixtures_of_new_tests(change, path):
        return False
    if configures(path) or is_configuration(name, tools):
        return True
    if posixpath.basename(name) not in partly_read():
        return False
    unread = (path in change.base and path not in change.old) or (path in change.head and path not in change.new)
    return unread or parts_differ(name, change.old.get(path), change.new.get(path), tools)


def _only_fixtures_of_new_tests(change: Change, path: str) -> bool:
    """Whether it is a new ``conftest.py`` of fixtures alone, in a directory of tests that is new, too."""
    directory, name = posixpath.split(path)
    if name != "conftest.py" or not is_test(path) or path in change.base:
        return False
    others = any(each.startswith(f"{directory}/") for each in change.base)
    return not others and path in change.new and only_adds_tests(b"", change.new[path])


def _links(change: Change) -> list[str]:
    """Links that the change adds or moves where tests, or a whole directory of code, could be."""
    found = []
    for each in change.paths:
        entry = change.head.get(each.path)
        before = change.base.get(each.path)
        if entry is not None and entry.mode == "120000" and entry != before:
            found.append(each.path)
    return found


def _stand_ins(change: Change) -> list[HeldPlace]:
    roots = import_roots(change.base)
    known = {root: _modules(change.base, root) & _modules(change.head, root) for root in roots}
    held = []
    for path in (each.path for each in change.paths if each.status == "A"):
        module = path.removesuffix("/__init__.py")
        if module != path and f"{module}.py" in change.base and f"{module}.py" in change.head:
            held.append(HeldPlace(path, 0, f"would be imported in place of {module}.py"))
            continue
        if is_test_module(path):
            continue
        for root in roots:
            name = _module(path, root)
            instead = _instead_of(name, path, root, known, change.base) if name else ""
            if instead:
                held.append(HeldPlace(path, 0, f"would be imported in place of {instead}"))
                break
    return held


def _instead_of(name: str, path: str, root: str, known: Mapping[str, set[str]], base: Mapping[str, object]) -> str:
    """What a new module replaces; empty when nothing."""
    if name in known[root]:
        file, package = f"{root}{name}.py", f"{root}{name}/__init__.py"
        if file in base:
            return file
        return "" if package in base or path == package else f"{root}{name}/"
    if name in _STANDARD or name in _TOOLS:
        return f"the module {name}"
    elsewhere = [each for each in known if each != root and name in known[each]]
    if not elsewhere or (is_test(path) and all(is_test(f"{each}x") for each in elsewhere)):
        return ""
    return f"{elsewhere[0]}{name}"


def import_roots(paths: Iterable[str]) -> tuple[str, ...]:
    """The directories that Python searches for modules while the base's tests run, each with a slash at its end."""
    every = set(paths)
    roots = {"", "src/"} | {f"{part}/" for part in ("lib", "python") if f"{part}/__init__.py" not in every}
    for path in every:
        directory = posixpath.dirname(path)
        if is_test_module(path):
            while directory and f"{directory}/__init__.py" in every:
                directory = posixpath.dirname(directory)
            roots.add(f"{directory}/" if directory else "")
    return tuple(sorted(roots))


def _module(path: str, root: str) -> str:
    """The name under which a file, or the package it makes, is imported from a root; empty: it is not."""
    if not path.startswith(root):
        return ""
    top, _, below = path.removeprefix(root).partition("/")
    if below:
        return top if below == "__init__.py" else ""
    stem, dot, ending = top.partition(".")
    return stem if dot and f".{ending.rpartition('.')[2]}" in _IMPORTABLE else ""


def _modules(paths: Iterable[str], root: str) -> set[str]:
    """The modules, packages and directories with modules that the base has at a root."""
    found = {name for path in paths if (name := _module(path, root))}
    inside = (path.removeprefix(root) for path in paths if path.startswith(root) and path.endswith(".py"))
    found |= {path.partition("/")[0] for path in inside if "/" in path}
    return found - {"conftest", "__init__", "__main__", "setup"}
