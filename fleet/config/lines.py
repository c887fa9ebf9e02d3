"""Finds the line of each key and array item in a TOML text, which must already have parsed."""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[^,\]}\n#]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{1,2})?', re.DOTALL),
    re.compile(r"'''.*?'''(?:'{1,2})?", re.DOTALL),
    re.compile(r'"(?:[^"\\]|\\.)*"'),
    re.compile(r"'[^']*'"),
)


class LineMap:
    """Finds lines by path: ``("machines", "evo", "port")``, ``("people", 0, "ids", 1)``."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._lines: dict[Path, int] = {}
        self._line, self._counted = 1, 0
        self._arrays: dict[Path, int] = {}
        self._scan()

    def line(self, path: Path) -> int:
        """The line of ``path``, or of the nearest table around it; 1 when there is none."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 1

    def _scan(self) -> None:
        prefix: Path = ()
        while self._skip_blank() < len(self._text):
            if self._text[self._at] == "[":
                prefix = self._header()
            else:
                self._pair(prefix)

    def _header(self) -> Path:
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        here = self._here()
        keys = self._keys()
        self._at = self._text.index("]", self._at) + (2 if array else 1)
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if path in self._arrays and not (array and number == len(keys) - 1):
                path = (*path, self._arrays[path] - 1)
        if array:
            index = self._arrays.get(path, 0)
            self._arrays[path] = index + 1
            self._lines.setdefault(path, here)
            path = (*path, index)
        self._lines[path] = here
        return path

    def _pair(self, prefix: Path) -> None:
        here = self._here()
        path = prefix
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, here)
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip_blank()
            if self._text[self._at] in "\"'":
                raw = self._string()
                keys.append(tomllib.loads(f"key = {raw}")["key"])
            else:
                found = _BARE_KEY.match(self._text, self._at)
                assert found is not None, "the text parsed as TOML"
                keys.append(found.group())
                self._at = found.end()
            self._skip_blank()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        self._skip_blank()
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._at += 1
            index = 0
            while self._until("]"):
                self._lines[*path, index] = self._here()
                self._value((*path, index))
                index += 1
        elif first == "{":
            self._at += 1
            while self._until("}"):
                self._pair(path)
        else:
            found = _PLAIN.match(self._text, self._at)
            assert found is not None, "the pattern matches the empty text"
            self._at = found.end()

    def _until(self, close: str) -> bool:
        """Moves to the next item; at the end, moves past ``close`` and returns False."""
        self._skip_blank()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip_blank()
        if self._text[self._at] == close:
            self._at += 1
            return False
        return True

    def _string(self) -> str:
        for pattern in _STRINGS:
            found = pattern.match(self._text, self._at)
            if found:
                self._at = found.end()
                return found.group()
        raise AssertionError("the text parsed as TOML")

    def _skip_blank(self) -> int:
        found = _BLANK.match(self._text, self._at)
        assert found is not None, "the pattern matches the empty text"
        self._at = found.end()
        return self._at

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
