"""Which inputs of setups a person released, by a store's ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fleet.events import HoldReleased, Refs, SetupChanged, Source
from fleet.model import AIRBOSS
from fleet.ports import Candidate
from fleet.setup.site import WantedSetup
from fleet.store import ledger
from fleet.store.core import Tx

_PAGE: Final = 500


def released(tx: Tx, repo: str) -> frozenset[tuple[str, str]]:
    """The definitions and inputs, by their digests, that a person released for a repository."""
    asked: dict[str, set[tuple[str, str]]] = {}
    allowed: set[str] = set()
    after = 0
    while page := ledger.read(tx, after, _PAGE, kinds=(SetupChanged.KIND, HoldReleased.KIND)):
        for recorded in page:
            event = recorded.event
            if isinstance(event, SetupChanged) and event.repo == repo:
                asked.setdefault(event.commit, set()).add((event.definition_sha256, event.inputs_sha256))
            elif isinstance(event, HoldReleased) and event.approved:
                allowed.add(event.commit)
        after = page[-1].seq
    return frozenset(pair for commit in allowed & asked.keys() for pair in asked[commit])


def record(tx: Tx, candidate: Candidate, asked: Iterable[WantedSetup]) -> None:
    """Records which inputs a release of this commit would release, once."""
    task = candidate.task
    known = {each.event for each in ledger.read(tx, kinds=(SetupChanged.KIND,), task=task.id)}
    refs = Refs(task=task.id, session=candidate.session.id, turn=candidate.turn.id)
    for wanted in asked:
        setup, commit = wanted.setup, candidate.commit
        event = SetupChanged(task.repo, commit, setup.name, setup.sha256, wanted.inputs_sha256)
        if event not in known:
            ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=refs)
