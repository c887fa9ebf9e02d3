"""``.env``: the only file with secrets. Values are read by name, for the process that needs them."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from fleet.config.encoding import decoded
from fleet.config.home import SECRETS_FILE
from fleet.errors import Misused


class Secrets:
    """The content of ``.env``. Its representation never shows a value, and it cannot be pickled."""

    __slots__ = ("_path", "_values")

    def __init__(self, values: dict[str, str], path: Path | None = None) -> None:
        self._values, self._path = dict(values), path

    @classmethod
    def load(cls, home: Path) -> Secrets:
        """Reads ``home/.env``; a missing file is an empty set. Raises ``Misused`` when it cannot be read."""
        from dotenv import dotenv_values

        path = Path(home) / SECRETS_FILE
        try:
            found = dotenv_values(stream=StringIO(decoded(path.read_bytes())), interpolate=False)
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
        return cls({name: value for name, value in found.items() if value is not None}, path)

    def take(self, other: Secrets) -> None:
        """Holds what ``other`` holds from now on: the file was edited."""
        self._values = dict(other._values)

    def get(self, name: str) -> str:
        """The value of ``name``; empty when it is not set."""
        return self._values.get(name, "")

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
