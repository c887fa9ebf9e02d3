"""``.env``: the only file with secrets. Values are read by name, for the process that needs them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Final

from fleet.config.encoding import decoded
from fleet.config.home import SECRETS_FILE
from fleet.errors import Misused
from fleet.files import content

_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")
_SETS: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=")
_SET_INSIDE: Final = re.compile(r"\n(?:export )?[A-Z][A-Z0-9_]*=[^=\s]")  # not the end of a key in Base64


class Secrets:
    """The content of ``.env``. Its representation never shows a value, and it cannot be pickled."""

    __slots__ = ("_path", "_values")

    def __init__(self, values: dict[str, str], path: Path | None = None) -> None:
        self._values, self._path = dict(values), path

    @classmethod
    def load(cls, home: Path) -> Secrets:
        """Reads ``home/.env``; a missing file is an empty set. Raises ``Misused`` when it cannot be read, and for
        lines that would be passed over, with their numbers."""
        path = Path(home) / SECRETS_FILE
        try:
            found, wrong = _read(decoded(content(path)))
        except FileNotFoundError:
            return cls({}, path)
        except NotADirectoryError:
            raise Misused(
                attempted="use the home", on=str(home), cause="it is not a directory", hint="Check AIRBOSS_HOME."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise Misused(
                attempted="read the secrets", on=str(path), cause=str(why), hint=f"fix it, then chmod 600 {path}"
            ) from None
        if wrong:
            hint = f"Write one NAME=value a line in {path}; a value may be in quotes."
            raise Misused(attempted="read the secrets", on=str(path), cause="\n".join(wrong[:5]), hint=hint)
        return cls(found, path)

    def take(self, other: Secrets) -> None:
        """Holds what ``other`` holds from now on: the file was edited."""
        self._values = dict(other._values)

    def get(self, name: str) -> str:
        """The value of ``name``; empty when it is not set."""
        return self._values.get(name, "")

    def store_of(self, home: Path) -> str:
        """The URL of a home's store."""
        return self.get("AIRBOSS_STORE") or f"sqlite:///{home / 'airboss.db'}"

    def require(self, name: str, purpose: str) -> str:
        """The value of ``name``. Raises ``Misused`` when it is missing or empty; ``purpose`` says what it is
        for."""
        value = self.get(name)
        if not value:
            where = str(self._path) if self._path else SECRETS_FILE
            raise Misused(attempted=purpose, on=where, cause=f"{name} is not set", hint=f"add {name}=… to {where}")
        return value

    def values(self) -> tuple[str, ...]:
        """All values, for the redactor only."""
        return tuple(value for value in self._values.values() if value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._values)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._values))})"

    def __reduce__(self) -> str:
        raise TypeError("secrets are not pickled")


def _read(text: str) -> tuple[dict[str, str], list[str]]:
    """The values, and what is wrong: line numbers and names, never a value."""
    from dotenv.parser import parse_stream

    values, lines, wrong = dict[str, str](), dict[str, int](), list[str]()
    for found in parse_stream(StringIO(text)):
        written, name = found.original.string, found.key or ""
        blank = len(written) - len(written.lstrip())
        line = found.original.line + written.count("\n", 0, blank)
        if found.error and (sets := _SETS.match(written)):
            wrong.append(f"line {line}: the quote of {sets[1]} is not closed, or something follows it")
        elif found.error or (name and (found.value is None or not _NAME.fullmatch(name))):
            wrong.append(f"line {line} is not NAME=value")
        elif not name or found.value is None:
            continue  # blank, or a comment
        elif _SET_INSIDE.search(found.value):
            wrong.append(f"line {line}: the quote of {name} closes behind a line that sets another name")
        elif values.setdefault(name, found.value) != found.value:
            wrong.append(f"line {line} sets {name}, as line {lines[name]} does, to another value")
        lines.setdefault(name, line)
    return values, wrong
