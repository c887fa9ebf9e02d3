"""Which changed files a test runner reads as configuration. The data is in ``runners.toml``; pure functions."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from configparser import Error as IniError
from configparser import RawConfigParser
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files as package_files
from typing import Any, Final

_WORD: Final = re.compile(r"[^\s;&|()\"']+")
#: In a name for files: it says more than the whole name of a file.
_WILD: Final = re.compile(r"[*?\[/]")
_ENDINGS: Final = (".exe", ".cmd", ".bat", ".sh")


@dataclass(frozen=True, slots=True)
class Sections:
    """The keys of a file that count, and keys below them that do not. A ``*`` at a key's end stands for any end."""

    keys: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Runner:
    """A test runner or build tool: what means it in a command, and what it reads. Names are in lower case.

    ``names`` are of whole files, ``patterns`` the last parts of paths with wildcards.
    """

    name: str
    programs: frozenset[str]
    names: frozenset[str]
    patterns: tuple[str, ...]
    sections: Mapping[str, Sections]
    matches: Mapping[str, re.Pattern[str]]
    own: bool
    runs_others: bool


def _runner(name: str, table: Mapping[str, Any]) -> Runner:
    files = [file.lower() for file in table.get("files", ())]
    return Runner(
        name,
        frozenset(table.get("programs", ())),
        frozenset(file for file in files if not _WILD.search(file)),
        tuple(file for file in files if _WILD.search(file)),
        {
            file.lower(): Sections(tuple(each["keys"]), tuple(each.get("except", ())))
            for file, each in table.get("sections", {}).items()
        },
        {file.lower(): re.compile(pattern) for file, pattern in table.get("matches", {}).items()},
        bool(table.get("own")),
        bool(table.get("runs_others")),
    )


@cache
def runners() -> tuple[Runner, ...]:
    """Every tool that we know."""
    data = (package_files("gates.layers") / "runners.toml").read_text(encoding="utf-8")
    return tuple(_runner(name, table) for name, table in tomllib.loads(data).items())


@cache
def partly_read() -> frozenset[str]:
    """The names of files, in lower case, of which only a part configures tests."""
    return frozenset(name for runner in runners() for name in (*runner.sections, *runner.matches))


def applying(argv: Sequence[str]) -> tuple[Runner, ...]:
    """The tools whose files a gate with this command reads.

    A command that runs others, or that we do not know, could read the files of every tool.
    """
    words = {_program(word) for item in argv for word in _WORD.findall(item)}
    named = [runner for runner in runners() if not runner.programs.isdisjoint(words)]
    if not named or any(runner.runs_others for runner in named):
        return runners()
    return tuple(runner for runner in runners() if runner in named or not runner.own)


def _program(word: str) -> str:
    name = posixpath.basename(word.replace("\\", "/")).lower()
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)


def is_configuration(path: str, tools: Iterable[Runner] | None = None) -> bool:
    """Whether a file (its path in lower case, on one line) is configuration as a whole.

    Without ``tools``: for whichever command.
    """
    among = tools if tools is not None else (runner for runner in runners() if not runner.own)
    name = posixpath.basename(path)
    return any(name in runner.names or any(_fits(path, pattern) for pattern in runner.patterns) for runner in among)


def _fits(path: str, pattern: str) -> bool:
    """Whether the last parts of a path fit a pattern; a wildcard stays within its part."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) >= len(wanted) and all(map(fnmatchcase, parts[-len(wanted) :], wanted))


def parts_differ(path: str, old: bytes | None, new: bytes | None, tools: Iterable[Runner]) -> bool:
    """Whether the parts of a file that configure tests differ between two versions (``None``: there is no file)."""
    name = posixpath.basename(path)
    return any(
        _keys(name, old, runner.sections[name]) != _keys(name, new, runner.sections[name])
        for runner in tools
        if name in runner.sections
    ) or any(
        _found(old, runner.matches[name]) != _found(new, runner.matches[name])
        for runner in tools
        if name in runner.matches
    )


def _found(data: bytes | None, pattern: re.Pattern[str]) -> list[str]:
    text = (data or b"").decode("utf-8", "surrogateescape")
    return [" ".join(found[0].split()) for found in pattern.finditer(text)]


def _keys(name: str, data: bytes | None, wanted: Sections) -> object:
    """What a file has under the wanted keys; a file that cannot be read equals only itself."""
    if data is None:
        return {}
    try:
        text = data.decode("utf-8-sig")
        if name.endswith(".toml"):
            return _shape(tomllib.loads(text), wanted)
        if name.endswith(".json"):
            return _shape(json.loads(text), wanted)
        parser = RawConfigParser(strict=False, allow_no_value=True)
        parser.read_string(text)
        return {each: dict(parser[each]) for each in parser.sections() if any(map(_meant(each), wanted.keys))}
    except (ValueError, TypeError, AttributeError, IniError, tomllib.TOMLDecodeError, RecursionError):
        return data


def _meant(section: str) -> Any:
    return lambda key: section.startswith(key[:-1]) if key.endswith("*") else section == key


def _shape(document: Mapping[str, Any], wanted: Sections) -> dict[str, object]:
    shape = {key: _without(_at(document, key), key, wanted) for key in wanted.keys}
    return {key: value for key, value in shape.items() if value not in (None, {})}


def _at(document: Any, key: str) -> Any:
    """What is at ``a.b``; ``None``: nothing."""
    for part in key.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _without(value: Any, key: str, wanted: Sections) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if f"{key}.{name}" not in wanted.left_out and each != {}}
