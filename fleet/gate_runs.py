"""One run of one gate, as it is recorded: wherever that is."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.verdict import GateResult


@dataclass(frozen=True, slots=True)
class GateRun:
    """One run of one gate on one commit; ``result`` is ``None`` until it is closed."""

    id: str
    task: str
    session: str
    turn: str
    gate: str
    commit: str
    tree: str
    base: str
    round: int
    argv: tuple[str, ...]
    definition_sha256: str
    machine: str
    nonce: str
    pipe: str
    login: str
    supervisor: str
    opened_us: int
    closed_us: int
    result: GateResult | None
