"""What is wrong with a value of the two files, and what can be written instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from fleet.config import values
from fleet.config.checks import Found
from fleet.offers import NEED_PATTERN

_SIZES: Final = 'write a whole number followed by M, G or T (no smaller unit): "500M", "8G", "1T"'
_PROGRAM: Final = ("is not a program", 'write its name or path: "python3", "/usr/bin/python3"')
_DIRECTORY: Final = ("is not a full path", 'write it from the root on: "/srv/tools"')
_ONE_LINE: Final = ("is not one line of text", "write it without line breaks and control characters")
_MODEL: Final = ("is not the name of a model", "write it as its vendor does, without spaces")

PATTERN_WORDS: Final = {
    values.NAME_PATTERN: (
        "is not a valid name",
        "use lower-case letters, digits, dot, dash and underscore; start with a letter or digit",
    ),
    values.LOGIN_PATTERN: ("is not a login name", "use letters, digits, dot, dash and underscore, no leading dash"),
    values.HOST_PATTERN: ("is not a host name or address", "give a host name or an address, no leading dash"),
    values.VARIABLE_PATTERN: ("is not a variable name", "use letters, digits and underscore"),
    values.DURATION_PATTERN: ("is not a duration", 'write a number followed by s, m or h: "90s", "10m", "1h"'),
    values.LONG_DURATION_PATTERN: (
        "is not a duration",
        'write a number followed by s, m, h or d: "10m", "12h", "14d"',
    ),
    values.SIZE_PATTERN: ("is not a size", _SIZES),
    values.PORTS_PATTERN: ("is not a range of ports", 'write the first and the last: "20000-27999"'),
    values.LABEL_PATTERN: ("is not a label", 'write it in lower case, perhaps with a version: "ios", "xcode=26.1"'),
    NEED_PATTERN: ("is not a label", 'write a label in lower case, or a comparison: "linux", "xcode>=26"'),
    values.MODEL_PATTERN: _MODEL,
    values.ANY_MODEL_PATTERN: _MODEL,
    values.DIRECTORY_PATTERN: ("is not a full path", 'write it from the root on, without a colon: "/srv/tools"'),
    values.FULL_PATH_PATTERN: _DIRECTORY,
    values.BACKUP_PATTERN: _DIRECTORY,
    values.SOCKET_PATTERN: ("is not the full path of a socket", "write it from the root on, at most 91 characters"),
    values.IN_HOME_PATTERN: ("is not a path in the home", 'write it without a leading slash: ".config/tool.json"'),
    values.PROVIDED_PATTERN: ("is not a path inside the tree", 'write its path, for example ".venv"'),
    values.PROGRAM_PATTERN: _PROGRAM,
    values.EGRESS_PATTERN: (
        "is not a host",
        'write its name in lower case, with a port if need be: "pypi.org", "*.example.com", "example.com:8443"',
    ),
    values.ONE_LINE_PATTERN: _ONE_LINE,
    values.FILTER_PATTERN: ("is not the name of a filter", 'write it as .gitattributes does: "nbstripout"'),
    values.NOTE_KEY_PATTERN: ("is not a verifier key", "write the witness's own line: NAME+HASH+KEY"),
    values.JOB_PATTERN: ("is not a job's name", "use letters, digits, dot, dash and underscore, no leading dash"),
    values.OPTION_PATTERN: ("is not an option", 'write a long one: "--partition=gpu"'),
    values.DIGEST_PATTERN: ("is not a digest", "write 12 to 64 hexadecimal digits in lower case, or leave it out"),
    values.LANGUAGE_PATTERN: ("is not a language", 'write its code in lower case: "en", "de"'),
}
"""For every pattern that a field has; a test sees to that."""

_KINDS: Final = {
    "string_type": ("must be text", "put it in quotes"),
    "int_type": ("must be a whole number", "write it without quotes and without a fraction"),
    "bool_type": ("must be true or false", "write it without quotes"),
    "list_type": ("must be a list", 'write ["…", "…"]'),
    "model_type": ("must be a table", "write it as a separate [table]"),
    "model_attributes_type": ("must be a table", "write it as a separate [table]"),
    "dict_type": ("must be a table", "write it as a separate [table]"),
    "date_type": ("must be a day", "write it as 2026-12-31"),
    "missing": ("is missing", "add it"),
}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "is too small", "write {} or more"),
    "less_than_equal": ("le", "is too large", "write {} or less"),
    "string_too_long": ("max_length", "is too long", "write at most {} characters"),
    "string_too_short": ("min_length", "is too short", "write at least {}"),
    "too_short": ("min_length", "is too short", "list at least {}"),
    "too_long": ("max_length", "is too long", "list at most {}"),
}
_ALTERNATIVE: Final = ("literal[", "function-", "constrained-", "list[", "dict[")
"""How pydantic calls the alternatives of a field that takes several types. No key of ours begins so."""


def in_words(model: type[BaseModel], details: Sequence[ErrorDetails], raw: Any) -> list[Found]:
    """The problems, one for each place in the file ``raw``."""
    found: dict[tuple[str | int, ...], Found] = {}
    for detail in sorted(details, key=_of_an_alternative):
        path = tuple(_as_written(detail["loc"], raw))
        found.setdefault(path, _words(model, detail, path))
    return list(found.values())


def _of_an_alternative(detail: ErrorDetails) -> bool:
    """Whether it only says which other fixed word would do: what the value itself lacks says more."""
    return str(detail["loc"][-1]).startswith("literal[")


def _as_written(loc: tuple[str | int, ...], raw: Any) -> Iterator[str | int]:
    """The keys on the way, as the file has them: no index where it has a single name, no alternative of a type."""
    value = raw
    for part in loc:
        if part == "[key]" or (isinstance(part, str) and part.startswith(_ALTERNATIVE)):
            continue
        if isinstance(part, int) and not isinstance(value, list):
            return
        yield part
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None


def _words(model: type[BaseModel], detail: ErrorDetails, path: tuple[str | int, ...]) -> Found:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "airboss":
        return Found(path, context["what"], context["remedy"])
    if kind == "extra_forbidden":
        known = _known(model, path)
        return Found(path, "is an unknown key", _nearest(str(path[-1]), known) or f"known keys: {', '.join(known)}")
    if kind in {"literal_error", "enum"}:
        known = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        words = " or ".join(f'"{word}"' for word in known)
        meant = _nearest(str(value), known) or "write it exactly like that"
        return Found(path, f"must be {words}, not {_short(value)}", meant)
    if kind == "string_pattern_mismatch":
        what, remedy = PATTERN_WORDS[context["pattern"]]
        return Found(path, f"{what} ({_short(value)})", remedy)
    if kind == "list_type" and path[-1] in {"run", "program"}:
        return Found(
            path, "must be a list (argv, not a shell line)", 'write ["program", "argument"], one item per word'
        )
    if kind in _BOUNDS:
        bound, what, remedy = _BOUNDS[kind]
        if kind in {"string_too_short", "too_short"} and not value:
            return Found(path, "is empty", "write something" if value == "" else remedy.format(context[bound]))
        return Found(path, f"{what} ({_short(value)})", remedy.format(f"{context[bound]:,}"))
    if kind.startswith("date_"):
        kind = "date_type"
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
        for choice in here.get("anyOf", ()):
            if "$ref" in choice:
                here = choice
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
    return list(here.get("properties", {}))


def _of_any_key(here: dict[str, Any]) -> dict[str, Any]:
    for found in (*here.get("patternProperties", {}).values(), here.get("additionalProperties")):
        if isinstance(found, dict):
            return found
    return {}


def _nearest(word: str, known: list[str]) -> str:
    """The one that was probably meant, as a question; empty where none is close."""
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.5)
    return f"did you mean `{lower[close[0]]}`?" if close else ""
