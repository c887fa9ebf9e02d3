"""What a path is to a test runner: a test, or a file that configures it. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from gates.layers.configuration import is_configuration

TEST_DIRECTORIES: Final = frozenset({"test", "tests", "__tests__", "spec", "specs", "__snapshots__"})
_TEST_NAME: Final = re.compile(
    r"test_.*\.pyi?|.*_test\.(py|go|rs|cc|cpp|c|dart|exs|rb)|tests?\.py|.*[.-](test|spec)\.[cm]?[jt]sx?"
    r"|.*Tests?\.(java|kt|swift|cs|scala)|.*_spec\.rb|.*\.(snap|ambr)"
)
_WORDS: Final = re.compile(r".*\.(md|rst)")
_COMPILED: Final = re.compile(r".*\.(py[cod]|so|pth|egg-link|egg|dylib)")
_METADATA: Final = re.compile(r".*\.(dist|egg)-info")


def folded(path: str) -> str:
    """A path as a file system that ignores case would compare it, on one line."""
    return "".join(ch if ch.isprintable() else "�" for ch in path).lower()


def is_test(path: str) -> bool:
    """Whether a file is a test, or belongs to tests (their data, helpers and snapshots)."""
    *directories, name = path.split("/")
    if _WORDS.fullmatch(name.lower()):
        return False
    inside = not TEST_DIRECTORIES.isdisjoint(part.lower() for part in directories)
    return inside or bool(_TEST_NAME.fullmatch(name))


def is_test_module(path: str) -> bool:
    """Whether pytest, as it is delivered, collects this file."""
    name = posixpath.basename(path)
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def configures(path: str) -> bool:
    """Whether a file configures a test runner or Python itself, whatever is in it."""
    whole = folded(path)
    *directories, name = whole.split("/")
    return bool(
        is_configuration(whole)
        or _COMPILED.fullmatch(name)
        or any(_METADATA.fullmatch(part) or part == "__pycache__" for part in (*directories, name))
    )
