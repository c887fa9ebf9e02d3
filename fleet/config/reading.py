"""Reads the two files, and reports all problems at once, each with its line and how to fix it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleet.config import models, values
from fleet.config.checks import Found, check, duplicate_ids, names_of_slots
from fleet.config.encoding import decoded
from fleet.config.lines import LineMap
from fleet.config.problems import ConfigProblems, Problem
from fleet.errors import Misused
from fleet.logins import login_name

FILE_LIMIT = 1 << 20  # bytes; a repository's file is not trusted

_Model = TypeVar("_Model", bound=BaseModel)
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_PATTERN_WORDS = {
    values.NAME_PATTERN: (
        "is not a valid name",
        "use lower-case letters, digits, dot, dash and underscore; start with a letter or digit",
    ),
    values.LOGIN_PATTERN: ("is not a login name", "use letters, digits, dot, dash and underscore, no leading dash"),
    values.HOST_PATTERN: ("is not a host name or address", "give a host name or an address, no leading dash"),
    values.VARIABLE_PATTERN: ("is not a variable name", "use letters, digits and underscore"),
    values.DURATION_PATTERN: (
        "is not a duration",
        'write a number followed by s, m or h: "90s", "10m", "1h"',
    ),
    values.LONG_DURATION_PATTERN: (
        "is not a duration",
        'write a number followed by s, m, h or d: "10m", "12h", "14d"',
    ),
}
_KINDS = {
    "string_type": ("must be text", "put it in quotes"),
    "int_type": ("must be a whole number", "write it without quotes"),
    "bool_type": ("must be true or false", "write it without quotes"),
    "list_type": ("must be a list", 'write ["…", "…"]'),
    "model_type": ("must be a table", "write it as a separate [table]"),
    "model_attributes_type": ("must be a table", "write it as a separate [table]"),
    "dict_type": ("must be a table", "write it as a separate [table]"),
    "missing": ("is missing", "add it"),
}


def controller_login() -> str:
    """The login that this process runs as."""
    return login_name()


def load_fleet(path: Path, *, login: str = "") -> models.FleetConfig:
    """Loads the fleet from ``path``. ``login`` is the controller's, by default this process's.

    Raises ``ConfigProblems`` (a ``Misused``) with every problem, and ``Misused`` when the file does not exist.
    """
    try:
        data = Path(path).read_bytes()
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


def parse_repo_file(text: str | bytes, origin: str) -> models.RepoFile:
    """The gates defined by an ``airboss.toml``. Raises ``ConfigProblems``, with ``origin`` as the file's name."""
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
        found = [_in_words(model, detail) for detail in error.errors()]
        return None, [replace(problem, path=_as_written(problem.path, raw)) for problem in found]


def _as_written(path: tuple[str | int, ...], raw: Any) -> tuple[str | int, ...]:
    """Without the index into a list where the file has a single name."""
    value = raw
    for at, part in enumerate(path):
        if isinstance(part, int) and not isinstance(value, list):
            return path[:at]
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return path
    return path


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


def _in_words(model: type[BaseModel], detail: ErrorDetails) -> Found:
    path = tuple(part for part in detail["loc"] if part != "[key]")
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "airboss":
        return Found(path, context["what"], context["remedy"])
    if kind == "extra_forbidden":
        return Found(path, "is an unknown key", _nearest(str(path[-1]), _known(model, path)))
    if kind in {"literal_error", "enum"}:
        known = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        words = " or ".join(f'"{word}"' for word in known)
        return Found(path, f"must be {words}, not {_short(value)}", _nearest(str(value), known))
    if kind == "string_pattern_mismatch":
        what, remedy = _PATTERN_WORDS.get(
            context["pattern"], ("has characters that are not allowed", "remove them")
        )
        return Found(path, f"{what} ({_short(value)})", remedy)
    if kind == "list_type" and path[-1] in {"run", "program"}:
        return Found(
            path, "must be a list (argv, not a shell line)", 'write ["program", "argument"], one item per word'
        )
    if kind in _KINDS:
        what, remedy = _KINDS[kind]
        return Found(path, what, remedy)
    return Found(path, f"is wrong ({_short(value)}): {detail['msg'].lower()}", "see docs/configuration.md")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _known(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys allowed in place of the last part of ``path``."""
    schema = model.model_json_schema()
    here: dict[str, Any] = schema
    for part in path[:-1]:
        if isinstance(part, int):
            here = here.get("items", {})
        else:
            here = here.get("properties", {}).get(part) or _of_any_key(here)
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
    return list(here.get("properties", {}))


def _of_any_key(here: dict[str, Any]) -> dict[str, Any]:
    for found in (*here.get("patternProperties", {}).values(), here.get("additionalProperties")):
        if isinstance(found, dict):
            return found
    return {}


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean `{close[0]}`?"
    return "known keys: " + ", ".join(known)
