"""What a tamper layer is: it looks at a change before any run, says which runs to make, and judges their results.

Layers never run anything and never trust what the change says of itself. What a layer is sure of fails the gate;
what a person should look at is held, with the place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from fleet.config import LayerName
from fleet.git.changes import ChangedPath
from fleet.git.trees import TreeEntry
from fleet.verdict import HeldPlace
from gates.layers.report import Baseline, PhaseReport
from gates.runs.definitions import Definition


class Toolchain(StrEnum):
    """What runs a gate's tests, as far as layers know it."""

    PYTEST = "pytest"
    NODE = "node:test"
    GO = "go test"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Change:
    """A change as layers see it: what differs, both trees, and the bytes of the files that differ.

    ``added`` are the numbers of the lines that the change adds, by path. A file that is too large to be read is in
    neither ``old`` nor ``new``.
    """

    paths: tuple[ChangedPath, ...]
    base: Mapping[str, TreeEntry]
    head: Mapping[str, TreeEntry]
    old: Mapping[str, bytes] = field(default_factory=dict)
    new: Mapping[str, bytes] = field(default_factory=dict)
    added: Mapping[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One gate over one change. ``quarantined``: tests whose failures do not count today."""

    definition: Definition
    toolchain: Toolchain
    change: Change
    quarantined: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LayerFinding:
    """What a layer has to say: why the gate fails, what a person must look at, and remarks."""

    failed: tuple[str, ...] = ()
    held: tuple[HeldPlace, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: LayerFinding) -> LayerFinding:
        return LayerFinding(self.failed + other.failed, self.held + other.held, self.notes + other.notes)


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a gate's command: the base's as ``baseline``, the change's in the report."""

    baseline: Baseline
    report: PhaseReport


class Layer(Protocol):
    """One kind of check."""

    number: int
    name: LayerName

    def inspect(self, case: Case) -> LayerFinding:
        """What the change alone shows, before anything runs."""

    def judge(self, case: Case, runs: Runs) -> LayerFinding:
        """What the runs show."""


def signed(layer: Layer, found: LayerFinding) -> LayerFinding:
    """What a layer found, each held place with its number and name."""
    seen_by = f"{layer.number} ({layer.name})"
    return replace(found, held=tuple(replace(place, layer=seen_by) for place in found.held))


_NAMES: Final = 5


def some(names: Collection[str]) -> str:
    """The first names, and how many more there are."""
    shown = sorted(names)[:_NAMES]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def total(findings: Iterable[LayerFinding]) -> LayerFinding:
    """All findings as one, each held place once."""
    whole = LayerFinding()
    for finding in findings:
        whole += finding
    return LayerFinding(whole.failed, tuple(dict.fromkeys(whole.held)), tuple(dict.fromkeys(whole.notes)))
