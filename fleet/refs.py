"""What an event, or somebody who waits, is about."""

from __future__ import annotations

from msgspec import Struct


class Refs(Struct, frozen=True):
    """Empty strings where nothing applies."""

    task: str = ""
    session: str = ""
    turn: str = ""
    gate_run: str = ""
    machine: str = ""
