"""Reads the two files, and reports all problems at once, each with its line and how to fix it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fleet.config import models
from fleet.config.checks import Found, check, duplicate_ids, names_of_slots
from fleet.config.encoding import decoded
from fleet.config.lines import LineMap
from fleet.config.problems import ConfigProblems, Problem
from fleet.config.wording import in_words
from fleet.errors import Misused
from fleet.files import content
from fleet.logins import login_name

FILE_LIMIT = 1 << 20  # bytes; a repository's file is not trusted

_Model = TypeVar("_Model", bound=BaseModel)
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


def controller_login() -> str:
    """The login that this process runs as."""
    return login_name()


def load_fleet(path: Path, *, login: str = "") -> models.FleetConfig:
    """Loads the fleet from ``path``. ``login`` is the controller's, by default this process's.

    Raises ``ConfigProblems`` (a ``Misused``) with every problem, and ``Misused`` when the file does not exist.
    """
    try:
        data = content(Path(path))
    except OSError as error:
        raise Misused(
            attempted="read the fleet's configuration",
            on=str(path),
            cause=error.strerror or str(error),
            hint="see docs/configuration.md for a first fleet.toml, or set AIRBOSS_HOME to its directory",
        ) from error
    return parse_fleet(data, str(path), login=login)


def parse_fleet(text: str | bytes, origin: str, *, login: str = "") -> models.FleetConfig:
    """The fleet described by ``text``; ``origin`` names it in problems. Raises ``ConfigProblems``."""
    raw, lines = _toml(text, origin)
    config, found = _validated(models.FleetConfig, raw)
    if config is None:
        rest = _less(raw, [problem.path for problem in found])
        config, still = _validated(models.FleetConfig, rest)
        if config is None:
            config, _ = _validated(models.FleetConfig, _less(rest, [problem.path[:2] for problem in still]))
    if config is not None:
        agents = raw.get("agents", {})
        names = [name for name in agents if isinstance(name, str)] if isinstance(agents, dict) else []
        told = {problem.path for problem in found}
        further = [
            *check(config, login or controller_login(), names),
            *names_of_slots(config),
            *duplicate_ids(raw.get("people")),
        ]
        found += [problem for problem in further if problem.path not in told]
    if found or config is None:
        raise _problems(found, lines, origin)
    return config


@lru_cache(maxsize=32)
def parse_repo_file(text: str | bytes, origin: str) -> models.RepoFile:
    """The gates defined by an ``airboss.toml``. Raises ``ConfigProblems``, with ``origin`` as the file's name.

    Kept for the last few: a task reads the file of its base eight times.
    """
    raw, lines = _toml(text, origin)
    parsed, found = _validated(models.RepoFile, raw)
    if parsed is None:
        raise _problems(found, lines, origin)
    return parsed


def _toml(text: str | bytes, origin: str) -> tuple[dict[str, Any], LineMap]:
    if len(text) > FILE_LIMIT:
        remedy = f"a configuration is at most {FILE_LIMIT >> 20} MiB"
        raise ConfigProblems(origin, [Problem(origin, 1, "", "is too long", remedy)])
    try:
        text = (text if isinstance(text, str) else decoded(text)).removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = Problem(origin, line, "", "is not UTF-8", "save the file as UTF-8")
        raise ConfigProblems(origin, [problem]) from error
    try:
        raw = tomllib.loads(text)
        found = list(_unusable(raw))
        if found:
            raise _problems(found, LineMap(text), origin)
        return raw, LineMap(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT_LINE.search(str(error))
        line = int(at.group(1)) if at else text.count("\n") + 1
        words = _AT_LINE.sub("", str(error))
        problem = Problem(origin, line, "", f"is not TOML: {words}", "fix the syntax on this line or the one above")
        raise ConfigProblems(origin, [problem]) from error
    except RecursionError as error:
        problem = Problem(origin, 1, "", "nests values too deeply", "nest no deeper than the documentation shows")
        raise ConfigProblems(origin, [problem]) from error
    except ValueError as error:  # of Python, for a number of thousands of digits
        problem = Problem(origin, 1, "", "has a number that is too large", "write one of at most 18 digits")
        raise ConfigProblems(origin, [problem]) from error


def _unusable(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Found]:
    """What no field can be: a text with a NUL byte, which no program, path or variable takes, and a number beyond
    TOML's own range."""
    if isinstance(value, str) and "\0" in value:
        yield Found(path, "contains a NUL byte", "remove it")
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        yield Found(path, "is a number that is too large", "write one of at most 18 digits")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unusable(key, (*path, key)) if "\0" in key else _unusable(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _unusable(item, (*path, at))


def _validated(model: type[_Model], raw: dict[str, Any]) -> tuple[_Model | None, list[Found]]:
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        return None, in_words(model, error.errors(), raw)


def _less(value: Any, paths: list[tuple[str | int, ...]]) -> Any:
    """``value`` without the parts at ``paths``, so that the rest can still be checked."""
    gone = {path[0] for path in paths if len(path) == 1}
    deeper: dict[str | int, list[tuple[str | int, ...]]] = {}
    for path in paths:
        if len(path) > 1:
            deeper.setdefault(path[0], []).append(path[1:])
    if isinstance(value, dict):
        return {key: _less(item, deeper.get(key, [])) for key, item in value.items() if key not in gone}
    if isinstance(value, list):
        return [_less(item, deeper.get(at, [])) for at, item in enumerate(value) if at not in gone]
    return value


def _problems(found: list[Found], lines: LineMap, origin: str) -> ConfigProblems:
    return ConfigProblems(
        origin,
        [
            Problem(
                origin,
                lines.line(problem.path),
                _dotted(problem.path),
                _plain(problem.what),
                _plain(problem.remedy),
            )
            for problem in found
        ],
    )


def _plain(words: str) -> str:
    return "".join(ch if ch.isprintable() else "�" for ch in words)[:400]


def _dotted(path: tuple[str | int, ...]) -> str:
    dotted = ""
    for part in path:
        if isinstance(part, int):
            dotted += f"[{part}]"
        else:
            key = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{_plain(part)[:64]}"'
            dotted += f".{key}" if dotted else key
    return dotted
