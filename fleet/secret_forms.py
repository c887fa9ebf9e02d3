"""The forms in which a secret's value gets written: quoted, encoded, split over lines. Pure."""

from __future__ import annotations

import base64
import json
import re
from typing import Final
from urllib.parse import quote, quote_plus

from fleet.untrusted import SPACELESS

SHORTEST: Final = 6  # characters: a shorter value (a port, a flag) is in too many innocent places
_ENCODED: Final = 8  # characters: the encodings of a shorter value are in too many, too
_SPLIT: Final = 12  # letters and digits: fewer are found by chance when everything between them is left out
_LINE: Final = 16  # characters of a value's line that count as a secret alone

_BETWEEN: Final = {point: None for point in range(128) if not chr(point).isalnum()}
_BETWEEN_BYTES: Final = bytes(_BETWEEN)
_BEGINNING: Final = 3  # characters
_SPACELESS: Final = re.compile(f"[{SPACELESS}]")
_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")
_FIRST_OWN: Final = (0, 2, 3)  # by alignment: the first character of Base64 that no byte before has a part in


def written(value: str) -> set[str]:
    """The forms of a value that are one piece: as it is, in a URL, in JSON, its lines, Base64 and hex."""
    quoted = {quote(value), quote(value, safe=""), quote_plus(value)}
    forms = {value, *quoted, *(_PERCENT.sub(lambda found: found.group().lower(), form) for form in quoted)}
    forms |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= {line.strip() for line in value.splitlines() if len(line.strip()) >= _LINE}
    return {form for form in forms | _encoded(value) if len(form) >= SHORTEST}


def beginnings(value: str) -> set[str]:
    """The starts of a value that a text may end with where it was cut: of one in a script without spaces, whose
    words are cut anywhere."""
    return {value[:end] for end in range(_BEGINNING, len(value))} if _SPACELESS.search(value) else set()


def squeezed(value: str) -> set[str]:
    """The forms to look for in a text that went through :func:`squeeze`."""
    forms = {squeeze(form) for form in (value, *_encoded(value))}
    return {form for form in forms if len(form) >= _SPLIT}


def squeeze(text: str) -> str:
    """``text`` without what is written between the parts of a value that is split over lines: white space,
    quotes, operators, the signs in front of lines. Letters, digits and everything outside ASCII stay."""
    if text.isascii():  # twenty times faster
        return text.encode().translate(None, _BETWEEN_BYTES).decode()
    return text.translate(_BETWEEN)


def split_over(text: str, form: str) -> list[tuple[int, int]]:
    """Where in ``text`` each occurrence of a squeezed form that goes over lines begins and ends, in order."""
    found, places, at = squeeze(text), [], 0
    while (at := found.find(form, at)) >= 0:
        places.append((at, at + len(form) - 1))
        at += len(form)
    if not places:
        return []
    kept = [index for index, char in enumerate(text) if ord(char) not in _BETWEEN]
    spans = [(kept[first], kept[last] + 1) for first, last in places]
    return [(start, end) for start, end in spans if "\n" in text[start:end]]


def _encoded(value: str) -> set[str]:
    if len(value) < _ENCODED:
        return set()
    data = value.encode("utf-8", "surrogatepass")
    forms = {data.hex(), data.hex().upper()}
    for alignment, first in enumerate(_FIRST_OWN):
        shifted = bytes(alignment) + data
        whole = slice(first, len(shifted) * 8 // 6)  # characters that no byte before or after changes
        forms |= {base64.b64encode(shifted)[whole].decode(), base64.urlsafe_b64encode(shifted)[whole].decode()}
    return forms
