"""What a machine offers, and what a task or a gate needs of it: labels, some with a version or a size.

A label is offered with a version (``xcode`` with ``26.1``), a size (``disk`` with ``81920M``) or neither. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fleet.errors import Misused

Offers = Mapping[str, str]
"""The labels of a machine, each with its version or size; empty for one that has neither."""

NEED_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]*((>=|<=|>|<|=)[0-9]{1,9}(\.[0-9]{1,9}){0,5}[MGT]?)?$"
NOT_SEEN: Final = "not seen yet, so its labels are not known"
PASSING: Final = frozenset({"disk"})
"""Labels that change while nobody does anything: a machine that lacks them now may have them later."""

_NEED = re.compile(
    r"(?P<label>[a-z0-9][a-z0-9._-]*)"
    r"(?:(?P<relation>>=|<=|>|<|=)(?P<version>[0-9]{1,9}(?:\.[0-9]{1,9}){0,5})(?P<unit>[mgt]?))?"
)
_TYPED = str.maketrans({"≥": ">=", "≤": "<="})
_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,5}")
_MEBIBYTES = {"M": 1, "G": 1 << 10, "T": 1 << 20}


class Relation(StrEnum):
    """How a machine's version must relate to the one that is needed."""

    AT_LEAST = ">="
    AT_MOST = "<="
    ABOVE = ">"
    BELOW = "<"
    EQUAL = "="


@dataclass(frozen=True, slots=True)
class LabelNeed:
    """A label that must be there; with a ``relation``, in such a version. Written as ``xcode>=26``."""

    label: str
    relation: Relation | None = None
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> LabelNeed:
        """The inverse of ``str``. Raises ``Misused``."""
        found = _NEED.fullmatch(text.translate(_TYPED).lower())
        if found is None:
            raise Misused(
                attempted="read what a machine must have",
                on=text,
                cause="not a label, or a label and a version",
                hint="Write needs=macos or needs=xcode>=26; several: needs=macos,xcode>=26.",
            )
        relation = Relation(found["relation"]) if found["relation"] else None
        return cls(found["label"], relation, (found["version"] or "") + (found["unit"] or "").upper())

    def __str__(self) -> str:
        return f"{self.label}{self.relation or ''}{self.version}"

    def lacking(self, offers: Offers) -> str:
        """Why a machine does not meet it, such as ``xcode>=26 (it has 25.4)``; empty when it does."""
        if self.label not in offers:
            return str(self)
        has = offers[self.label]
        if self.relation is None:
            return ""
        here, wanted = _comparable(has, self.version)
        if not here:
            return f"{self} (its version is not known)"
        met = {
            Relation.AT_LEAST: here >= wanted,
            Relation.AT_MOST: here <= wanted,
            Relation.ABOVE: here > wanted,
            Relation.BELOW: here < wanted,
            Relation.EQUAL: here == wanted,
        }
        return "" if met[self.relation] else f"{self} (it has {has})"


def lacking(needs: Iterable[str], offers: Offers) -> list[str]:
    """What a machine with these ``offers`` lacks, in words. The ``needs`` are valid texts."""
    return [why for need in needs if (why := LabelNeed.parse(need).lacking(offers))]


def passes(needs: Iterable[str], offers: Offers) -> bool:
    """Whether all that it lacks may be there later, though nobody does anything."""
    unmet = [need for need in map(LabelNeed.parse, needs) if need.lacking(offers)]
    return all(need.label in PASSING and need.label in offers for need in unmet)


def offered(label: str) -> tuple[str, str]:
    """The name and the version of a label as ``fleet.toml`` declares it: ``macos``, or ``xcode=26.1``."""
    name, _, version = label.partition("=")
    return name, version


def version_in(text: str) -> str:
    """The first version in what a program prints of itself; empty without one."""
    found = _VERSION.search(text)
    return found[0] if found else ""


def _comparable(has: str, wanted: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both as numbers of the same count: 26 is met by 26.1. Empty for a version that is none."""
    if wanted[-1:] in _MEBIBYTES:
        size = _mebibytes(has) if has[-1:] in _MEBIBYTES else None
        return (() if size is None else (size,)), (_mebibytes(wanted),)
    numbers = tuple(int(part) for part in wanted.split("."))
    if not _VERSION.fullmatch(has):
        return (), numbers
    own = [int(part) for part in has.split(".")]
    return tuple((own + [0] * len(numbers))[: len(numbers)]), numbers


def _mebibytes(size: str) -> int:
    return int(float(size[:-1]) * _MEBIBYTES[size[-1]])
