"""One gate run as a receipt describes it: what ran, on what, how it ended, who witnessed its opening. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fleet.events import (
    GateClosed,
    GateClosedV2,
    GateClosedV3,
    GateClosedV4,
    GateOpened,
    GateWitnessed,
    LocksGranted,
    LocksReleased,
    Recorded,
)
from fleet.exits import to_json


def described(
    mine: Sequence[Recorded], opened: Recorded, closed: Recorded, overridden: dict[str, Any] | None, *, old: bool
) -> dict[str, Any]:
    """The run between these two events. ``old``: as receipts of the first version have it."""
    start, end = opened.event, closed.event
    assert isinstance(start, GateOpened)
    assert isinstance(end, GateClosed)
    isolation = {}
    if isinstance(end, GateClosedV2):
        isolation = {"isolation": {"processes": end.processes, "files": end.files, "network": end.network}}
    if isinstance(end, GateClosedV4):
        isolation["isolation"] |= {"login": end.login_sharing, "supervisor": end.supervisor}
    witnesses = {}
    if (names := witnessed_by(mine, opened)) is not None:
        witnesses = {"witnesses": list(names)}
    limits = {}
    if isinstance(end, GateClosedV3) and end.limits:
        limits = {"limits": {**asdict(end.limits), "reached": end.reached}}
    place = {"attempt": attempt(mine, opened), "round": start.round, "commit": start.commit, "base": start.base}
    return {
        "run": opened.refs.gate_run,
        "gate": start.gate,
        "outcome": end.outcome,
        **({} if old else place),
        "argv": list(start.argv),
        "definition_sha256": start.definition_sha256,
        "exit": to_json(end.exit) if end.exit else None,
        "raw_wait_status": end.raw_wait_status,
        "tree": end.tree,
        "machine": closed.refs.machine,
        "login": end.login,
        "contained": end.contained,
        **isolation,
        **limits,
        **({"overridden": overridden} if overridden is not None else {}),
        **witnesses,
        "output_sha256": end.output_sha256,
        "output_bytes": end.output_bytes,
        "junit_testimony": asdict(end.junit) if end.junit else None,
        "started_us": end.started_us,
        "ended_us": end.ended_us,
    }


def opening_and_close(mine: Sequence[Recorded], run: str) -> tuple[Recorded, Recorded] | None:
    """A run's two events, where it was opened before it was closed."""
    opened = next((item for item in mine if item.refs.gate_run == run and isinstance(item.event, GateOpened)), None)
    closed = next((item for item in mine if item.refs.gate_run == run and isinstance(item.event, GateClosed)), None)
    return (opened, closed) if opened is not None and closed is not None and opened.seq < closed.seq else None


def attempt(mine: Sequence[Recorded], opened: Recorded) -> int:
    """Which run of its gate in its turn this is, from 1."""
    start = opened.event
    assert isinstance(start, GateOpened)
    return sum(
        1
        for item in mine
        if item.seq <= opened.seq
        and isinstance(item.event, GateOpened)
        and (item.refs.turn, item.event.gate) == (opened.refs.turn, start.gate)
    )


def locks_held(mine: Sequence[Recorded], upto: int) -> list[dict[str, Any]]:
    """The locks that the task had after event ``upto``, each with its fencing token."""
    held: dict[tuple[str, str], dict[str, Any]] = {}
    for item in mine:
        event = item.event
        if item.seq > upto:
            break
        if isinstance(event, LocksGranted):
            named = zip(event.resources, event.modes, event.tokens, strict=False)  # "and 9 more" may follow
            for resource, mode, token in named:
                held[event.hold, resource] = {"resource": resource, "mode": mode, "token": token}
        elif isinstance(event, LocksReleased):
            for resource in event.resources:
                held.pop((event.hold, resource), None)
    return list(held.values())


def witnessed_by(events: Sequence[Recorded], opened: Recorded) -> tuple[str, ...] | None:
    """Who signed a checkpoint with this opening before the run; ``None`` where nobody was asked."""
    for item in events:
        if isinstance(item.event, GateWitnessed) and item.refs.gate_run == opened.refs.gate_run:
            return item.event.witnesses if opened.seq <= item.event.size < item.seq else ()
    return None
