"""All layers over one change: what it shows before any run, and how its runs are made."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from fleet.config import LayerName
from fleet.untrusted import clean
from fleet.verdict import NOT_AVAILABLE
from gates.layers.baseline import ByName
from gates.layers.canaries import Canaries
from gates.layers.course import PytestCourse
from gates.layers.go import GoCourse, runs_go_tests
from gates.layers.grammars import available
from gates.layers.node import NodeCourse, runs_node_tests
from gates.layers.protected import Protected
from gates.layers.protocol import Case, Change, Layer, LayerFinding, Toolchain, signed, some, total
from gates.layers.scan import Scan
from gates.layers.tools import Tools
from gates.runs.course import Course
from gates.runs.definitions import Definition

LAYERS: Final[tuple[Layer, ...]] = (Tools(), Protected(), ByName(), Canaries(), Scan())
_BY_RUNS: Final = frozenset({LayerName.BASELINE, LayerName.CANARIES})
_COURSES: Final = {Toolchain.PYTEST: PytestCourse, Toolchain.NODE: NodeCourse, Toolchain.GO: GoCourse}
_BY_GRAMMAR: Final = (Toolchain.NODE, Toolchain.GO)
_PYTEST: Final = re.compile(r"(^|[\s/;&|(])(py\.test|pytest)(\d[\d.]*)?($|[\s;&|)])")


def toolchain_of(definition: Definition) -> Toolchain:
    """What runs the gate's tests, by its command."""
    if any(map(_PYTEST.search, definition.argv)):
        return Toolchain.PYTEST
    if runs_node_tests(definition.argv):
        return Toolchain.NODE
    return Toolchain.GO if runs_go_tests(definition.argv) else Toolchain.OTHER


async def inspect(definition: Definition, change: Change, day: date | None = None) -> LayerFinding:
    """What the layers that are on find in the change itself. ``day``: when; today."""
    case = Case(definition, toolchain_of(definition), change)
    found = await asyncio.to_thread(lambda: total(signed(layer, layer.inspect(case)) for layer in _on(definition)))
    missing = sorted(_BY_RUNS & definition.layers) if case.toolchain is Toolchain.OTHER else []
    if case.toolchain in _BY_GRAMMAR and LayerName.SCAN in definition.layers and not available():
        missing.append(LayerName.SCAN)
    words = f"{' and '.join(missing)}: {NOT_AVAILABLE} for this test runner"
    notes = [*([words] if missing else ()), *_of_quarantine(case, day or _today())]
    return found + LayerFinding(notes=tuple(notes))


def course_of(
    definition: Definition, change: Change, base_tree: str, kept: Path, day: date | None = None
) -> Course | None:
    """How to run a gate so that its layers see what they need; ``None``: its command, once, as it is. ``day``:
    when; today."""
    toolchain = toolchain_of(definition)
    if toolchain is Toolchain.OTHER or _BY_RUNS.isdisjoint(definition.layers):
        return None
    spared = quarantined_on(definition, day or _today()) if toolchain is Toolchain.PYTEST else frozenset()
    return _COURSES[toolchain](Case(definition, toolchain, change, spared), _on(definition), base_tree, kept)


def quarantined_on(definition: Definition, day: date) -> frozenset[str]:
    """The tests whose failures do not count on a day."""
    return frozenset(each.test for each in definition.quarantine if each.holds_on(day))


def _of_quarantine(case: Case, day: date) -> Iterator[str]:
    """What a person should know of the quarantine besides the tests that it spared."""
    definition = case.definition
    if not definition.quarantine:
        return
    if case.toolchain is not Toolchain.PYTEST or _BY_RUNS.isdisjoint(definition.layers):
        yield f"quarantine: {NOT_AVAILABLE} for this test runner"
    over = sorted({each.test for each in definition.quarantine} - quarantined_on(definition, day))
    if over:
        yield clean(f"quarantine is over, so failures count: {some(over)}")


def _today() -> date:
    return datetime.now(UTC).date()


def _on(definition: Definition) -> tuple[Layer, ...]:
    return tuple(layer for layer in LAYERS if layer.name in definition.layers)
