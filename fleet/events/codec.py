"""Events as bytes and back: RFC 8785 canonical JSON of the envelope, integers only.

A kind that this version does not know stays ``UnknownEvent`` with its body, never dropped.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import rfc8785

from fleet.errors import Malformed
from fleet.events import controller, gates, landings, permissions, sessions, tasks, turns
from fleet.events.envelope import Event, Refs, Source, UnknownEvent

_SUBJECTS = (controller, tasks, sessions, turns, permissions, gates, landings)

KINDS: dict[tuple[str, int], type[Event]] = {
    (found.KIND, found.V): found
    for subject in _SUBJECTS
    for found in vars(subject).values()
    if isinstance(found, type) and issubclass(found, Event) and found.KIND
}


def encode(*, seq: int, id_: str, time_us: int, actor: str, refs: Refs, source: Source, event: Event) -> bytes:
    """The envelope's RFC 8785 bytes. Raises ``Malformed`` for what JSON integers cannot carry."""
    kind, v = (event.kind, event.v) if isinstance(event, UnknownEvent) else (event.KIND, event.V)
    envelope: dict[str, Any] = {
        "seq": seq,
        "id": id_,
        "time_us": time_us,
        "kind": kind,
        "v": v,
        "actor": actor,
        "task": refs.task,
        "session": refs.session,
        "turn": refs.turn,
        "gate_run": refs.gate_run,
        "machine": refs.machine,
        "source": str(source),
        "body": event.body(),
    }
    _only_integers(envelope, kind)
    try:
        return rfc8785.dumps(envelope)
    except rfc8785.CanonicalizationError as error:
        raise Malformed(attempted="write an event", on=kind, cause=str(error)) from error


def _only_integers(value: Any, kind: str) -> None:
    if isinstance(value, float):
        raise Malformed(attempted="write an event", on=kind, cause="a float; use micro-units")
    if isinstance(value, dict):
        for item in value.values():
            _only_integers(item, kind)
    elif isinstance(value, list | tuple):
        for item in value:
            _only_integers(item, kind)


def parse(envelope: dict[str, Any]) -> tuple[Refs, Source, Event]:
    """The typed parts of a decoded envelope. Unknown kinds, versions and fields become ``UnknownEvent``."""
    refs = Refs(
        task=envelope["task"],
        session=envelope["session"],
        turn=envelope["turn"],
        gate_run=envelope["gate_run"],
        machine=envelope["machine"],
    )
    kind, v, body = envelope["kind"], envelope["v"], envelope["body"]
    cls = KINDS.get((kind, v))
    if cls is None or set(body) != {f.name for f in fields(cls)}:
        return refs, Source(envelope["source"]), UnknownEvent(kind, v, body)
    values = {name: tuple(item) if isinstance(item, list) else item for name, item in body.items()}
    return refs, Source(envelope["source"]), cls(**values)
