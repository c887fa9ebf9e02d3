"""Events about the slots of pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class SlotMoved(Event):
    """A slot changed its state. ``name`` is the one that its provider knows it by."""

    KIND: ClassVar[str] = "slot.moved"
    pool: str
    slot: str
    name: str
    old: str
    new: str
    why: str
