"""The lines of ``airboss.log`` about what happened: one for each start, reload, pause, task, landing and outage.

They come from the ledger, once it is committed. They hold ids, names of fleet.toml and reasons, never a prompt.
"""

from __future__ import annotations

import logging
from functools import partial

from fleet.events import (
    BaseMoved,
    ConfigReloaded,
    ControllerStarted,
    FleetPaused,
    FleetResumed,
    LandingDone,
    LandingsResumed,
    LinkChanged,
    Recorded,
    SessionPlaced,
    TaskMoved,
    TaskRequested,
)
from fleet.landing.task_branch import landed
from fleet.model import ENDS
from fleet.store.core import Store, Tx

log = logging.getLogger(__name__)

_WHY = 200


def keep(store: Store) -> None:
    """Writes a line for each event from now on that deserves one."""
    store.observe(_observe)


def _observe(tx: Tx, recorded: Recorded) -> None:
    if words := line_of(recorded):
        tx.after_commit(partial(log.info, "%s", words))


def line_of(recorded: Recorded) -> str:
    """What the log says about an event; empty: nothing."""
    refs, task = recorded.refs, recorded.refs.task
    match recorded.event:
        case ControllerStarted(version=version, recovered_tasks=recovered):
            return f"airboss {version} started, {len(recovered)} open tasks taken over"
        case ConfigReloaded(sha256=sha256):
            return f"fleet.toml reloaded, {sha256[:12]}"
        case FleetPaused(machine=machine):
            return f"{machine or 'the fleet'} paused by {recorded.actor}"
        case FleetResumed(machine=machine):
            return f"{machine or 'the fleet'} resumed by {recorded.actor}"
        case TaskRequested(repo=repo, agent=agent):
            return f"{task} requested: {repo}, {agent}, by {recorded.actor}"
        case SessionPlaced(machine=machine):
            return f"{task} starts on {machine} as {refs.session}"
        case TaskMoved(new=new, why=why) if new in ENDS:
            return f"{task} ended: {new}" + (f", {_short(why)}" if why else "")
        case LandingDone(ref=ref, new=new):
            return f"{task} {landed(ref, new[:10])}"
        case BaseMoved(repo=repo, old=old, new=new, rewritten=rewritten, stops=stops):
            how = "rewritten" if rewritten else "moved"
            return f"{repo}: the base was {how} by others, {old[:10]} to {new[:10]}" + (
                "; landings stop" if stops else ""
            )
        case LandingsResumed(repo=repo):
            return f"{repo}: landings go on, by {recorded.actor}"
        case LinkChanged(up=up, why=why):
            return f"{task}: the link to {refs.machine} " + ("is back" if up else f"is down, {_short(why)}")
        case _:
            return ""


def _short(why: str) -> str:
    """A reason in one line: an agent's words must not look like lines of the log."""
    return " ".join(why.split())[:_WHY]
