"""Which versions of an agent's program work with us. Pure."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

Version = tuple[int, ...]

TESTED: Final[dict[str, Version]] = {"claude": (2, 1, 197), "codex": (0, 169, 0)}
"""The version of each driver's program that the tests run."""

OLDEST: Final[dict[str, Version]] = {"claude": (2, 1, 0), "codex": (0, 160, 0)}
"""The oldest one that is supported: a policy, no measurement. Nobody has tried older ones with our drivers."""

_NPM: Final = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex"}
_VERSION: Final = re.compile(r"\d{1,6}(?:\.\d{1,6}){1,3}")


class Fit(Enum):
    """How an installed version compares."""

    TESTED = "tested"
    UNTESTED = "not tested"  # between the oldest that works and the tested one
    NEWER = "newer than tested"
    TOO_OLD = "too old"
    UNKNOWN = "version unknown"


def version_in(says: str) -> Version:
    """The version in what a program says of itself; empty when there is none."""
    found = _VERSION.search(says)
    return tuple(map(int, found.group().split("."))) if found else ()


def fit(driver: str, says: str) -> Fit:
    """Whether the version in what a program says works with its driver."""
    found, tested = version_in(says), TESTED.get(driver)
    if tested is None or not found:
        return Fit.UNKNOWN
    if found < OLDEST[driver]:
        return Fit.TOO_OLD
    return Fit.TESTED if found == tested else Fit.NEWER if found > tested else Fit.UNTESTED


def install(driver: str) -> str:
    """What installs the tested version; empty where that is not known."""
    return f"npm install -g {_NPM[driver]}@{written(TESTED[driver])}" if driver in _NPM else ""


def written(version: Version) -> str:
    """``2.1.197``."""
    return ".".join(map(str, version))
