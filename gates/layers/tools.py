"""Layer 2: what runs the tests comes from outside the change.

Held are files that configure Python or the test runner, and new modules that Python would import in place of
others: of the standard library, of a tool, or of the repository itself.
"""

from __future__ import annotations

import json
import posixpath
import sys
import tomllib
from collections.abc import Iterable, Mapping
from configparser import Error as IniError
from configparser import RawConfigParser
from typing import Any, Final

from fleet.config import LayerName
from fleet.verdict import HeldPlace
from gates.layers.paths import SECTIONED, configures, folded, is_test, is_test_module
from gates.layers.protocol import Case, Change, LayerFinding, Runs, Toolchain

#: What else a command reads before it runs any test, by the name of its program.
_READ_BY: Final[Mapping[str, frozenset[str]]] = {
    "make": frozenset({"makefile", "gnumakefile"}),
    "just": frozenset({"justfile", ".justfile"}),
    "tox": frozenset({"tox.ini", "tox.toml"}),
    "go": frozenset({"go.work", "vendor/modules.txt"}),
    "cargo": frozenset({"build.rs", ".cargo/config.toml", ".cargo/config", "rust-toolchain.toml"}),
}
#: Sections of ``pyproject.toml``'s ``tool`` that have no part in running tests.
_OTHER_TOOLS: Final = frozenset(
    {"poetry", "uv", "pdm", "hatch", "flit", "setuptools", "setuptools_scm", "ruff", "black", "isort", "mypy"}
    | {"pyright", "pylint", "flake8", "bandit", "towncrier", "commitizen", "semantic_release", "cibuildwheel"}
)
_INI_SECTIONS: Final = ("tool:pytest", "pytest", "coverage:", "testenv", "tox", "options.entry_points", "aliases")
_OF_PACKAGE: Final = ("scripts", "jest", "mocha", "ava", "type", "imports")
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
        held = [HeldPlace(path, 0, "configures how tests run") for path in _configuration(change)]
        held += [HeldPlace(path, 0, "is read by the gate's command") for path in _read_by(case)]
        held += [
            HeldPlace(path, 0, "is a link or a submodule that tests could go through") for path in _links(change)
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


def _configuration(change: Change) -> list[str]:
    return [each.path for each in change.paths if configures(each.path) or _sections_differ(change, each.path)]


def _sections_differ(change: Change, path: str) -> bool:
    name = posixpath.basename(folded(path))
    old, new = change.old.get(path), change.new.get(path)
    return name in SECTIONED and _test_sections(name, old) != _test_sections(name, new)


def _test_sections(name: str, data: bytes | None) -> object:
    """The part of a file that shapes how tests run; a file that cannot be read equals only itself."""
    if data is None:
        return {}
    try:
        text = data.decode("utf-8-sig")
        if name == "pyproject.toml":
            return _of_pyproject(tomllib.loads(text))
        if name == "package.json":
            package = json.loads(text)
            return {key: package[key] for key in _OF_PACKAGE if key in package}
        parser = RawConfigParser(strict=False, allow_no_value=True)
        parser.read_string(text)
        return {each: dict(parser[each]) for each in parser.sections() if each.startswith(_INI_SECTIONS)}
    except (ValueError, TypeError, IniError, tomllib.TOMLDecodeError, RecursionError):
        return data


def _of_pyproject(document: dict[str, Any]) -> dict[str, object]:
    tools = document.get("tool", {})
    shapes: dict[str, object] = {key: value for key, value in tools.items() if key not in _OTHER_TOOLS}
    entry_points = document.get("project", {}).get("entry-points", {})
    if entry_points:
        shapes["entry-points"] = entry_points
    poetry = tools.get("poetry", {})
    if isinstance(poetry, dict) and "plugins" in poetry:
        shapes["plugins"] = poetry["plugins"]
    return {key: value for key, value in shapes.items() if value != {}}


def _read_by(case: Case) -> list[str]:
    program = posixpath.basename(case.definition.argv[0])
    wanted = _READ_BY.get(program, frozenset())
    return [each.path for each in case.change.paths if folded(each.path) in wanted]


def _links(change: Change) -> list[str]:
    """Links and submodules that the change adds or moves where tests, or a whole directory of code, could be."""
    found = []
    for each in change.paths:
        entry = change.head.get(each.path)
        before = change.base.get(each.path)
        if entry is not None and entry.mode in ("120000", "160000") and entry != before:
            found.append(each.path)
    return found


def _stand_ins(change: Change) -> list[HeldPlace]:
    roots = import_roots(change.base)
    known = {root: _modules(change.base, root) for root in roots}
    held = []
    for path in (each.path for each in change.paths if each.status == "A" and not is_test_module(each.path)):
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
