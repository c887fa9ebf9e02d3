"""Where each base branch was last seen, so that a move by somebody else is noticed; and where landings stopped."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update

from fleet.events import BaseMoved, LandingsResumed, Source
from fleet.model import AIRBOSS
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.store.landings import IntentOutcome
from fleet.store.merge_tables import base_tips
from fleet.store.statements import Statement
from fleet.store.tables import landings

_OF = Statement(select(base_tips).where(base_tips.c.repo == bindparam("of")))
_SET = update(base_tips).where(base_tips.c.repo == bindparam("key"))
_SEEN = Statement(_SET)
_STOPPED = select(base_tips).where(base_tips.c.stopped != "").order_by(base_tips.c.repo)
_OURS = select(landings.c.id).where(landings.c.repo == bindparam("of"), landings.c.new == bindparam("tip"))


@dataclass(frozen=True, slots=True)
class BaseTip:
    """Where a repository's base branch was last seen. ``stopped``: why nothing lands there; empty: it may."""

    repo: str
    ref: str
    commit: str
    stopped: str = ""


def of_repo(tx: Tx, repo: str) -> BaseTip | None:
    """``None``: it was never looked at."""
    row = _OF.one(tx.connection, {"of": repo})
    return None if row is None else BaseTip(row.repo, row.ref, row.commit, row.stopped)


def stopped(tx: Tx) -> dict[str, str]:
    """Where nothing lands, and why, by repository."""
    return {row.repo: row.stopped for row in tx.connection.execute(_STOPPED)}


def is_ours(tx: Tx, repo: str, commit: str) -> bool:
    """Whether a landing of ours may have put the branch there."""
    query = _OURS.where(landings.c.outcome != str(IntentOutcome.MISSED))
    return tx.connection.execute(query, {"of": repo, "tip": commit}).first() is not None


def seen(tx: Tx, tip: BaseTip) -> None:
    """The branch is there, by a landing of ours or since it was first looked at."""
    row = {"ref": tip.ref, "commit": tip.commit, "seen_us": tx.now_us()}
    if not _SEEN.run(tx.connection, {"key": tip.repo, **row}):
        tx.connection.execute(insert(base_tips), {"repo": tip.repo, "stopped": "", **row})


def moved(tx: Tx, before: BaseTip, event: BaseMoved, why: str) -> None:
    """Somebody else moved the branch, once for each move. ``why``: landings stop there; empty: they go on."""
    if of_repo(tx, before.repo) != before:
        return
    ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER)
    values = {"commit": event.new, "seen_us": tx.now_us(), "stopped": why or before.stopped}
    tx.connection.execute(_SET, {"key": before.repo, **values})


def resume(tx: Tx, repo: str, by: str) -> bool:
    """A person lets landings go on; False where they had not stopped."""
    found = of_repo(tx, repo)
    if found is None or not found.stopped:
        return False
    tx.connection.execute(_SET, {"key": repo, "stopped": ""})
    ledger.append(tx, LandingsResumed(repo), actor=by, source=Source.PERSON)
    return True
