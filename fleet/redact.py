"""The redactor: secrets never reach a log, a chat, a ledger line or a receipt.

It replaces every value of ``.env`` and everything shaped like a known kind of secret. It takes linear time on any
input: patterns are anchored on literal text, and repeat possessively or within bounds.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec

from fleet import secret_starts
from fleet.secret_forms import SHORTEST, beginnings, split_over, squeeze, squeezed, written

_TEMPLATE = "‹redacted:{}›"


_TELEGRAM = re.compile(r":[\w-]{35}")
_GITHUB = re.compile(r"g(?:h[pousr]_|ithub_pat_)")


class _SecretShape(NamedTuple):
    """A kind of secret. ``pattern`` cannot match a text that contains none of ``needles`` (lower-cased if
    ``lower``), or no ``hint``. Looking for these first is many times faster than the pattern.

    A group named ``keep`` stays before the mark, one named ``after`` behind it.
    """

    kind: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    lower: bool = False
    hint: Callable[[str], object] | None = None

    def may_be_in(self, text: str) -> bool:
        """False only when the pattern cannot match."""
        searched = text.lower() if self.lower else text
        if self.needles and not any(needle in searched for needle in self.needles):
            return False
        return self.hint is None or bool(self.hint(text))

    @property
    def replacement(self) -> str:
        """The template for ``Pattern.sub``."""
        before = r"\g<keep>" if "keep" in self.pattern.groupindex else ""
        after = r"\g<after>" if "after" in self.pattern.groupindex else ""
        return before + _TEMPLATE.format(self.kind) + after


# Case-insensitive needles avoid i, k and s: these also match letters that ``str.lower`` leaves unchanged.
_SHAPES: tuple[_SecretShape, ...] = (
    _SecretShape(
        "private-key",
        ("-----BEGIN ",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:(?!-----BEGIN)[\s\S])*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"|(?:[A-Za-z0-9+/=\s]|\\n)*+)"
        ),
    ),
    _SecretShape("anthropic-key", ("sk-ant-",), re.compile(r"sk-ant-[\w-]{10,}+")),
    _SecretShape("openai-key", ("sk-",), re.compile(r"(?<![\w-])sk-[A-Za-z0-9_-]{20,}+")),
    _SecretShape(
        "slack-token", ("xox", "xapp-"), re.compile(r"(?:xox[a-z]|xapp)-[\w-]{10,}+|xoxe\.xox[a-z]-[\w-]{10,}+")
    ),
    _SecretShape(
        "slack-webhook",
        ("hooks.slack.com/",),
        re.compile(r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{10,}+"),
    ),
    _SecretShape(
        "telegram-token",
        (),
        re.compile(r"(?<!\d)\d{5,16}:[\w-]{35}[\w-]*+"),
        hint=_TELEGRAM.search,
    ),
    _SecretShape(
        "github-token",
        ("_",),
        re.compile(r"gh[pousr]_[\w-]{20,}+(?:\.[\w-]++)*+|github_pat_\w{20,}+"),
        hint=_GITHUB.search,
    ),
    _SecretShape("access-token", (), secret_starts.TOKEN, hint=secret_starts.may_have_token),
    _SecretShape("access-token", (), secret_starts.OTHERS, hint=secret_starts.may_have_others),
    _SecretShape("aws-key", ("AKIA", "ASIA"), re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])")),
    _SecretShape(
        "aws-secret",
        ("acce", "on_to"),
        re.compile(
            r"(?P<keep>(?i:aws_?secret_?access_?key|aws_session_token)[\"']?\s{0,4}[=:]\s{0,4}[\"']?)"
            r"[A-Za-z0-9/+=]{40,}+"
        ),
        lower=True,
    ),
    _SecretShape("google-key", ("AIza",), re.compile(r"AIza[\w-]{35}")),
    _SecretShape("jwt", ("eyJ",), re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]*+")),
    _SecretShape(
        "authorization",
        ("author",),
        re.compile(
            r"(?P<keep>(?i:authorization)[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?i:bearer|basic|token)\s{1,4})[^\s\"',;]++"
        ),
        lower=True,
    ),
    _SecretShape(
        "authorization",
        ("bearer",),
        re.compile(r"(?P<keep>\b(?i:bearer)\s{1,4})[A-Za-z0-9._~+/=-]{16,}+"),
        lower=True,
    ),
    _SecretShape(
        "api-key",
        ("x-ap", "x-goog-ap"),
        re.compile(r"(?P<keep>(?i:x-api-key|x-goog-api-key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\s\"',;]++"),
        lower=True,
    ),
    _SecretShape(
        "password",
        ("://",),
        re.compile(r"(?P<keep>://[^\s/@:\"'<>]{0,256}:)[^\s/\"'<>]{1,1024}(?P<after>@)"),
        hint=re.compile("@").search,
    ),
)


def _suspicious(text: str) -> bool:
    """The prefilter: whether a text contains a needle or a hint. Without either, no shape matches.

    Written out because a loop over the needles takes three times as long.
    """
    if (
        "sk-" in text
        or "://" in text
        or "eyJ" in text
        or "xox" in text
        or "xapp-" in text
        or "-----BEGIN " in text
        or "hooks.slack.com/" in text
        or ("A" in text and ("AKIA" in text or "ASIA" in text or "AIza" in text))
        or ("_" in text and _GITHUB.search(text))
        or (":" in text and _TELEGRAM.search(text))
        or secret_starts.may_have_token(text)
        or secret_starts.may_have_others(text)
    ):
        return True
    lowered = text.lower()
    return (
        "author" in lowered
        or "bearer" in lowered
        or "acce" in lowered
        or "on_to" in lowered
        or "x-ap" in lowered
        or "x-goog-ap" in lowered
    )


# By their first letter: a pattern with one first letter is looked for faster than a plain text is.
_PATTERNS: Final = (
    *secret_starts.STARTS_BYTES,
    *secret_starts.OTHERS_BYTES,
    *map(
        re.compile,
        (
            rb":(?://|[\w\x80-\xff-]{35})",
            rb"-----BEGIN ",
            rb"A(?:KIA|SIA|Iza)",
            rb"g(?:h[pousr]_|ithub_pat_)",
            rb"sk-",
            rb"x(?:ox|app-)",
        ),
    ),
)
_LINE_END: Final = re.compile(rb"\\n")
_LOWERED: Final = tuple(map(re.compile, (rb"a(?:uthor|cce)", rb"bearer", rb"on_to", rb"x-(?:goog-)?ap")))


class _Lines:
    """Many lines joined into one text, which is searched at once: many times faster than one after the other."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.text = b"\n".join(lines)
        self._starts = [0, *accumulate(len(line) + 1 for line in lines)]
        self.found = set[int]()

    def note(self, at: int) -> int:
        """Notes the line of a place. Returns where the next one begins."""
        number = bisect_right(self._starts, at) - 1
        self.found.add(number)
        return self._starts[number + 1]

    def find(self, needle: bytes) -> None:
        """Notes the lines that contain it."""
        at = self.text.find(needle)
        while at >= 0:
            at = self.text.find(needle, self.note(at))

    def match(self, pattern: re.Pattern[bytes], text: bytes) -> None:
        """Notes the lines in which the pattern matches. ``text`` is the whole, or what was made of it byte for
        byte."""
        match = pattern.search(text)
        while match is not None:
            match = pattern.search(text, self.note(match.start()))


class Redactor:
    """Callable: takes a text, returns it without secrets. ``secrets`` are values, for example of ``.env``.

    A value is known in each form of ``fleet/secret_forms.py``, also where it is split over lines, or cut.
    """

    __slots__ = ("_beginnings", "_forms", "_known", "_needles", "_split")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """Replaces the values that are known: ``.env`` was edited."""
        values = [*secrets]
        forms = {form for value in values for form in written(value)}
        split = {form for value in values for form in squeezed(value)}
        longest_first = sorted(forms, key=_longest_first)
        starts = sorted({start for value in values for start in beginnings(value)}, key=_longest_first)
        self._beginnings = re.compile(f"(?:{'|'.join(map(re.escape, starts))})(?=…)") if starts else None
        # Our own marks match first and stay, so that a secret such as "password" does not split one.
        self._known = re.compile("|".join(map(re.escape, [*_MARKS, *longest_first])))
        self._split = tuple(form for form in sorted(split, key=_longest_first) if form not in _SQUEEZED_MARKS)
        # A needle that contains another needle is redundant.
        self._forms = tuple(form for form in longest_first if not any(form != o and o in form for o in forms))
        cut = ("…".encode(),) if starts else ()
        self._needles = (*cut, *filter(None, map(_in_json, self._forms)))

    def __call__(self, text: str) -> str:
        """``text`` with each secret replaced by ``‹redacted:kind›``. Applying it again changes nothing."""
        if len(text) < SHORTEST:  # no known value or shape is that short
            return text
        for form in self._forms:
            if form in text:
                text = self._known.sub(_mark_known, text)
                break
        if self._beginnings is not None and "…" in text:
            text = self._beginnings.sub(mark("secret"), text)
        if self._split and "\n" in text:
            text = self._joined(text)
        if not _suspicious(text):
            return text
        for shape in _SHAPES:
            if shape.may_be_in(text):
                text = shape.pattern.sub(shape.replacement, text)
        return text

    def suspects(self, lines: Sequence[bytes]) -> Collection[int]:
        """The numbers of these lines of JSON in which a string may hold a secret. In the strings of all others,
        this redactor changes nothing; among these are also lines without a secret."""
        searched = _Lines(lines)
        for needle in self._needles:
            searched.find(needle)
        for pattern in _PATTERNS:
            searched.match(pattern, searched.text)
        lowered = searched.text.lower()
        for pattern in _LOWERED:
            searched.match(pattern, lowered)
        if self._split:
            searched.match(_LINE_END, searched.text)
        return searched.found

    def _joined(self, text: str) -> str:
        """``text`` without values that are split over lines."""
        found = squeeze(text)
        for form in self._split:
            if form in found:
                parts, after = list[str](), 0  # joined once: a megabyte may hold a hundred thousand
                for start, end in split_over(text, form):
                    parts += text[after:start], _TEMPLATE.format("secret")
                    after = end
                text = "".join(parts) + text[after:]
                found = squeeze(text)
        return text

    def __repr__(self) -> str:
        return "Redactor(…)"


_MARKS = frozenset(_TEMPLATE.format(kind) for kind in ("secret", *(shape.kind for shape in _SHAPES)))
_SQUEEZED_MARKS = " ".join(map(squeeze, _MARKS))


def _in_json(form: str) -> bytes:
    """A value as it stands in a string of a line; empty for one that no line can hold."""
    try:
        return msgspec.json.encode(form)[1:-1]
    except UnicodeEncodeError:
        return b""


def _longest_first(form: str) -> tuple[int, str]:
    return -len(form), form


def mark(kind: str) -> str:
    """What stands in a secret's place."""
    return _TEMPLATE.format(kind)


def _mark_known(found: re.Match[str]) -> str:
    return found.group() if found.group() in _MARKS else _TEMPLATE.format("secret")
