"""All layers over one change: what they show before any run."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from gates.layers.protected import Protected
from gates.layers.protocol import Case, Change, Layer, LayerFinding, Toolchain, total
from gates.layers.scan import Scan
from gates.layers.tools import Tools
from gates.runs.definitions import Definition

LAYERS: Final[tuple[Layer, ...]] = (Tools(), Protected(), Scan())
_PYTEST: Final = re.compile(r"(^|[\s/;&|(])(py\.test|pytest)(\d[\d.]*)?($|[\s;&|)])")


def toolchain_of(definition: Definition) -> Toolchain:
    """What runs the gate's tests, by its command."""
    return Toolchain.PYTEST if any(map(_PYTEST.search, definition.argv)) else Toolchain.OTHER


async def inspect(definition: Definition, change: Change) -> LayerFinding:
    """What the layers that are on find in the change itself."""
    case = Case(definition, toolchain_of(definition), change)
    layers = [layer for layer in LAYERS if layer.name in definition.layers]
    return await asyncio.to_thread(lambda: total(layer.inspect(case) for layer in layers))
