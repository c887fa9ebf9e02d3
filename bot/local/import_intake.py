"""The controller's side of ``airboss import``: facts of session files, and the end of an import.

``import`` with ``agent``, ``machine`` and ``facts`` (at most 1,000) answers how many were new; with ``whole`` it
names conversations whose files were read to their end; with ``done`` it records the import. Facts are testimony:
they are appended with the source ``import``, and no rule reads them.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Final

from fleet.errors import Misused
from fleet.events import ImportDone, Source
from fleet.imports import Fact, ImportedAgent, plain
from fleet.store import imports, ledger, reconciling
from fleet.store.core import Store, Tx

_MOST: Final = 1_000
_COUNTS: Final = [field.name for field in fields(ImportDone) if field.name != "agent"]


async def answer(store: Store, request: dict[str, Any], actor: str) -> dict[str, int]:
    """Does what one request asks for. Raises ``Misused`` for what is malformed, and ``StoreUnavailable``."""
    try:
        agent = ImportedAgent(request["agent"])
        if "whole" in request:
            whole = [str(each) for each in request["whole"][:_MOST]]
            await store.write(lambda tx: reconciling.missing(tx, whole))
            return {}
        if "done" in request:
            counts = {name: request["done"][name] for name in _COUNTS}
            if not all(type(count) is int and count >= 0 for count in counts.values()):
                raise ValueError("a count that is no number")
            done = ImportDone(str(agent), **counts)
            await store.write(lambda tx: _record(tx, done, actor))
            return {}
        machine, given = request["machine"], request["facts"]
        if machine != plain(machine) or len(given) > _MOST:
            raise ValueError("a machine's name, or the number of facts")
        facts = [Fact.from_json(raw) for raw in given]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Misused(
            attempted="import sessions", cause=f"the request is malformed: {error}", hint="Use the airboss command."
        ) from error
    return asdict(await store.write(lambda tx: imports.add(tx, agent, machine, facts, actor)))


def _record(tx: Tx, done: ImportDone, actor: str) -> None:
    ledger.append(tx, done, actor=actor, source=Source.PERSON)
