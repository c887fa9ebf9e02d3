"""The kept rule set: Kingfisher's 488 rules, run as a program over a text.

It uses no network, ignores comments that exempt a line, and keeps its compiled rules in the login's cache. A start
costs half a second of CPU whatever it reads, and a change is read each time that it is judged, reviewed or merged
onto another base: what was searched is not searched again.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Struct

from gates.leaks.scan import SecretSearches

#: What every secret that a rule knows has: a word of some length, or a password in an address.
_WORTH: Final = re.compile(r"[\w+/=.~-]{16}|://[^\s/]*@|PRIVATE KEY")
#: What each file of a patch has above its lines: two ids, too short for any rule.
_IDS: Final = re.compile(r"^index [0-9a-f]{7,12}\.\.[0-9a-f]{7,12}\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule found: ``line`` counts from 1, ``text`` may have several lines."""

    rule: str
    line: int
    text: str


class _Rule(Struct):
    name: str


class _Finding(Struct):
    snippet: str
    line: int


class _Report(Struct):
    rule: _Rule | None = None
    finding: _Finding | None = None


#: The processes of this controller.
SEARCHES: Final = SecretSearches()
_DECODER = msgspec.json.Decoder(_Report)


def worth_searching(text: str) -> bool:
    """Whether there is anything in it that a rule could take for a secret."""
    return _WORTH.search(_IDS.sub("", text)) is not None


async def matches(text: str) -> list[Match]:
    """Everything in ``text`` that a rule takes for a secret. Raises ``Unavailable`` when it cannot be searched."""
    if not worth_searching(text):
        return []
    data = text.encode("utf-8", "replace")
    key = hashlib.sha256(data).digest()
    if key not in _searched:
        _searched[key] = await _search(data)
        while len(_searched) > _REMEMBERED:
            _searched.popitem(last=False)
    _searched.move_to_end(key)
    return list(_searched[key])


#: By the hash of a text: what the rules, which are the same for as long as we run, found in it.
_searched: OrderedDict[bytes, tuple[Match, ...]] = OrderedDict()
_REMEMBERED: Final = 256


async def _search(data: bytes) -> tuple[Match, ...]:
    # Not at the start: an archive's first bytes there would have all of it skipped.
    out = await SEARCHES.of(b"\n" + data)
    found = []
    for row in out.splitlines():
        line = _DECODER.decode(row)
        if line.rule is not None and line.finding is not None:
            found.append(Match(line.rule.name.rpartition("/")[2], line.finding.line - 1, line.finding.snippet))
    return tuple(found)
