"""Path globs of locks: whether one covers a path, and whether two of them can name the same path.

Overlap is decided exactly, by walking both patterns at once (the product of two automata): first over segments,
where ``**`` stands for any number of them, then over the characters of one segment, where ``*`` stands for any
number of them. Both walks visit each pair of positions once.

The language: ``?`` one character, ``*`` any characters of one segment, ``[a-z]`` and ``[!a-z]`` one of a class,
``**`` as a whole segment any number of segments, ``\\`` makes the next character literal. A pattern starts at the
root of the repository. One whose last segment has no wildcard also names everything below it: ``src`` is ``src/**``
too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from fleet.errors import Misused
from fleet.folding import lower, lower_all, lowered

LONGEST: Final = 16_384
"""Characters of a pattern that names one path, each of which may be escaped."""

LONGEST_PATTERN: Final = 1_024
"""Characters of a pattern with a wildcard."""

LONGEST_NAME: Final = 255
"""Characters of a name with a ``*`` in it."""

MOST_DEEP: Final = 8
"""How many ``**`` a pattern may have. With this, comparing two patterns never takes long."""

_CLASS: Final = re.compile(r"\[[^\]]*\]")
_BRACES: Final = re.compile(r"(?<!\\)(?:\\\\)*\{[^{}]*(?:,|\.\.)[^{}]*\}")
_COMMA: Final = re.compile(r"(?<!\\)(?:\\\\)*,")
_WILD: Final = re.compile(r"(?<!\\)(?:\\\\)*[*?\[]")
_STARRED: Final = re.compile(r"(?<!\\)(?:\\\\)*\*")
_TOP: Final = 0x10FFFF
_NUL, _SLASH = 0, ord("/")


@dataclass(frozen=True, slots=True)
class _Chars:
    """A set of characters: ``spans`` are inclusive code points, sorted, none touching; ``but``: all but these."""

    spans: tuple[tuple[int, int], ...]
    but: bool = False

    def has(self, char: str) -> bool:
        code = ord(char)
        return any(low <= code <= high for low, high in self.spans) is not self.but

    def example(self, other: _Chars) -> str | None:
        """A character that is in both and that a file name may have; a letter of ASCII where there is one."""
        shared = [
            (max(a, c), min(b, d))
            for a, b in self._positive()
            for c, d in other._positive()
            if max(a, c) <= min(b, d)
        ]
        plain = [max(low, ord("a")) for low, high in shared if low <= ord("z") and high >= ord("a")]
        return chr(plain[0] if plain else shared[0][0]) if shared else None

    def _positive(self) -> Iterator[tuple[int, int]]:
        if not self.but:
            yield from self.spans
            return
        start = 0
        for low, high in _joined([*self.spans, (_NUL, _NUL), (_SLASH, _SLASH)]):
            if start < low:
                yield start, low - 1
            start = high + 1
        if start <= _TOP:
            yield start, _TOP


@dataclass(frozen=True, slots=True)
class _Star:
    """Any number of characters of one segment."""


@dataclass(frozen=True, slots=True)
class _AnySegments:
    """``**``: any number of segments."""


_Token = _Chars | _Star
_Segment = tuple[_Token, ...]
_ANY_CHAR: Final = _Chars((), but=True)
_STAR: Final = _Star()
_ANY_NAME: Final[_Segment] = (_STAR,)
_DEEP: Final = _AnySegments()


@dataclass(frozen=True, slots=True)
class Glob:
    """A parsed pattern. ``text``: as it was written, normalised. ``fold``: letters' case makes no difference.

    ``head``: the directory that everything it names is in, or the path itself where it has no wildcard; empty for
    the root. Two patterns overlap only if one's head is the other's or lies below it.
    """

    text: str
    fold: bool
    head: tuple[str, ...]
    _segments: tuple[_Segment | _AnySegments, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str, *, fold: bool = False) -> Glob:
        """Raises ``Misused`` for a pattern that is empty, absolute, malformed, or leads out of the repository."""
        wanted = unicodedata.normalize("NFC", text.strip())
        while wanted.startswith("./"):
            wanted = wanted[2:]
        directory = wanted.endswith("/") and wanted != "/"
        wanted = wanted.rstrip("/") if directory else wanted
        raw = wanted.split("/")
        why = _wrong(wanted, raw)
        if why:
            raise Misused(
                attempted="read a path to lock", on=repr(text[:200]), cause=why, hint="For example: src/api/**"
            )
        parsed = tuple(_DEEP if part == "**" else tuple(_tokens(part, text, fold)) for part in raw)
        head: list[str] = []
        for segment in parsed:
            word = _word(segment)
            if word is None:
                break
            head.append(word)
        if len(head) == len(parsed) or directory:
            parsed = (*parsed, _DEEP)
        return cls(f"{wanted}/" if directory else wanted, fold, tuple(head), parsed)

    @classmethod
    def path(cls, path: str, *, fold: bool = False) -> Glob:
        """The pattern that names exactly ``path``, whatever characters are in it, and what is below it."""
        escaped = [f"\\{char}" if char in "*?[]\\" else char for char in path]
        for at in (0, -1):  # white space at the ends of what people write is not meant, in a file's name it is
            if path[at].isspace():
                escaped[at] = f"[{path[at]}]"
        return cls.parse("".join(escaped), fold=fold)

    @property
    def literal(self) -> str | None:
        """The one path that it names (and what is below it); ``None`` for a pattern with a wildcard."""
        words = [_word(segment) for segment in self._segments[:-1]]
        return None if None in words or self._segments[-1] is not _DEEP else "/".join(self.head)

    def covers(self, path: str) -> bool:
        """Whether it names this path (relative, with forward slashes)."""
        names = normal(path, fold=self.fold).split("/")
        mine = self._segments

        def steps(i: int, j: int) -> Iterator[tuple[int, int, str | None]]:
            segment = mine[i] if i < len(mine) else None
            if isinstance(segment, _AnySegments):
                yield i + 1, j, None
                if j < len(names):
                    yield i, j + 1, None
            elif segment is not None and j < len(names) and _matches(segment, names[j]):
                yield i + 1, j + 1, None

        return _walk(steps, (len(mine), len(names))) is not None

    def common(self, other: Glob) -> str | None:
        """A path that both name, ``None`` where there is none. Where one of them folds case, both do."""
        if self.fold is not other.fold:
            return _folded(self).common(_folded(other))
        if not _nested(self.head, other.head):
            return None
        mine, its = self._segments, other._segments

        def steps(i: int, j: int) -> Iterator[tuple[int, int, str | None]]:
            a = mine[i] if i < len(mine) else None
            b = its[j] if j < len(its) else None
            if isinstance(a, _AnySegments):
                yield i + 1, j, None
                if b is not None and not isinstance(b, _AnySegments):
                    yield i, j + 1, _meet(_ANY_NAME, b)
            if isinstance(b, _AnySegments):
                yield i, j + 1, None
                if a is not None and not isinstance(a, _AnySegments):
                    yield i + 1, j, _meet(a, _ANY_NAME)
            elif a is not None and b is not None and not isinstance(a, _AnySegments):
                name = _meet(a, b)
                if name is not None:
                    yield i + 1, j + 1, name

        found = _walk(steps, (len(mine), len(its)))
        return None if found is None else "/".join(found) or "x"


def unmeant(text: str) -> str:
    """Why a pattern that a person typed would not name what they mean; empty: nothing looks so.

    It would be granted, and protect only a file whose name has all these characters.
    """
    bare = _CLASS.sub("", text)
    if _BRACES.search(bare):
        return "braces choose nothing here: write each pattern by itself, and \\{ for the character"
    if _COMMA.search(bare):
        return "a comma separates nothing here: write each by itself, and \\, for the character"
    return ""


def normal(path: str, *, fold: bool) -> str:
    """A path in the form in which patterns see it."""
    composed = unicodedata.normalize("NFC", path)
    return lower_all(composed) if fold else composed


def _walk(
    steps: Callable[[int, int], Iterable[tuple[int, int, str | None]]], goal: tuple[int, int]
) -> list[str] | None:
    """The words on a way from (0, 0) to ``goal``; ``None`` when there is no way. Sees each pair once."""
    came: dict[tuple[int, int], tuple[tuple[int, int], str | None]] = {}
    todo, seen = [(0, 0)], {(0, 0)}
    while todo:
        here = todo.pop()
        if here == goal:
            words: list[str] = []
            while here in came:
                here, word = came[here]
                if word is not None:
                    words.append(word)
            return words[::-1]
        for i, j, word in steps(*here):
            if (i, j) not in seen:
                seen.add((i, j))
                came[(i, j)] = (here, word)
                todo.append((i, j))
    return None


def _nested(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    shared = min(len(a), len(b))
    return a[:shared] == b[:shared]


def _matches(segment: _Segment, name: str) -> bool:
    # The usual two-pointer walk: back to the last star when a character does not fit.
    i = j = 0
    star, resume = -1, 0
    while j < len(name):
        token = segment[i] if i < len(segment) else None
        if isinstance(token, _Star):
            star, resume, i = i, j, i + 1
        elif token is not None and token.has(name[j]):
            i, j = i + 1, j + 1
        elif star >= 0:
            resume += 1
            i, j = star + 1, resume
        else:
            return False
    return all(isinstance(token, _Star) for token in segment[i:])


@lru_cache(maxsize=4096)
def _meet(a: _Segment, b: _Segment) -> str | None:
    """A name that fits both segments, ``None`` where none does."""

    def steps(i: int, j: int) -> Iterator[tuple[int, int, str | None]]:
        x = a[i] if i < len(a) else None
        y = b[j] if j < len(b) else None
        if isinstance(x, _Star):
            yield i + 1, j, None
            if isinstance(y, _Chars):
                yield i, j + 1, y.example(_ANY_CHAR)
        if isinstance(y, _Star):
            yield i, j + 1, None
            if isinstance(x, _Chars):
                yield i + 1, j, x.example(_ANY_CHAR)
        if isinstance(x, _Chars) and isinstance(y, _Chars):
            char = x.example(y)
            if char is not None:
                yield i + 1, j + 1, char

    found = _walk(steps, (len(a), len(b)))
    return None if found is None else "".join(found) or "x"


@lru_cache(maxsize=4096)
def _folded(glob: Glob) -> Glob:
    return glob if glob.fold else Glob.parse(glob.text, fold=True)


def _wrong(text: str, parts: list[str]) -> str:
    if not text:
        return "it is empty"
    if len(text) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if text.startswith("/"):
        return "it is absolute; write it as seen from the root of the repository"
    if "\x00" in text:
        return "it has a NUL in it"
    if text in (".", ".."):
        return "the whole repository is written **"
    if any(part in ("", ".", "..") for part in parts):
        return "a part of it is empty, '.' or '..'"
    if len(text) > LONGEST_PATTERN and _WILD.search(text):
        return f"it has a wildcard, and is longer than {LONGEST_PATTERN} characters"
    if any(len(part) > LONGEST_NAME and _STARRED.search(part) for part in parts):
        return f"a name with a '*' in it is longer than {LONGEST_NAME} characters"
    if parts.count("**") > MOST_DEEP:
        return f"it has more than {MOST_DEEP} '**'"
    if any("**" in part and part != "**" for part in parts):
        return "'**' must stand for whole directories: src/**/test.py"
    return ""


def _word(segment: _Segment | _AnySegments) -> str | None:
    """The one name that a segment stands for; ``None`` when it has a wildcard."""
    if isinstance(segment, _AnySegments):
        return None
    letters: list[str] = []
    for token in segment:
        if isinstance(token, _Star) or token.but or len(token.spans) != 1 or token.spans[0][0] != token.spans[0][1]:
            return None
        letters.append(chr(token.spans[0][0]))
    return "".join(letters)


def _tokens(part: str, text: str, fold: bool) -> Iterator[_Token]:
    at = 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            yield _STAR
        elif char == "?":
            yield _ANY_CHAR
        elif char == "[":
            token, at = _class(part, at, text, fold)
            yield token
        else:
            if char == "\\":
                if at == len(part):
                    raise _malformed(text, "it ends in a backslash")
                char = part[at]
                at += 1
            yield _one(ord(lower(char) if fold else char))


@lru_cache(maxsize=1024)
def _one(code: int) -> _Chars:
    """A character that stands for itself; thousands of paths in memory share it."""
    return _Chars(((code, code),))


def _class(part: str, at: int, text: str, fold: bool) -> tuple[_Chars, int]:
    """The class whose ``[`` stands before ``at``, and where what follows it starts."""
    but = part[at : at + 1] in ("!", "^")
    at += but
    spans: list[tuple[int, int]] = []
    first = True
    while True:
        if at >= len(part):
            raise _malformed(text, "a '[' is not closed; write \\[ for the character")
        if part[at] == "]" and not first:
            break
        first = False
        low, at = _member(part, at, text)
        high = low
        if part[at : at + 1] == "-" and part[at + 1 : at + 2] not in ("", "]"):
            high, at = _member(part, at + 1, text)
        if high < low:
            raise _malformed(text, f"the range {low}-{high} runs backwards")
        spans += lowered(low, high) if fold else [(ord(low), ord(high))]
    return _Chars(tuple(_joined(spans)), but), at + 1


def _member(part: str, at: int, text: str) -> tuple[str, int]:
    if part[at] != "\\":
        return part[at], at + 1
    if at + 1 == len(part):
        raise _malformed(text, "it ends in a backslash")
    return part[at + 1], at + 2


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined


def _malformed(text: str, cause: str) -> Misused:
    return Misused(attempted="read a path to lock", on=repr(text[:200]), cause=cause)
