"""Which gates need a network that they do not have, by what the store says of their last runs."""

from __future__ import annotations

from collections.abc import Callable

from bot import words
from bot.doctor.findings import Finding, Severity
from fleet.config import FleetConfig
from fleet.errors import Misused, StoreUnavailable
from fleet.store import gates
from fleet.store.core import Store
from fleet.untrusted import clean
from gates.runs.surroundings import NO_NETWORK


async def check_gate_network(config: FleetConfig, open_store: Callable[[], Store]) -> list[Finding]:
    """A warning for each gate whose last run found no network, or ran before gates lost it. A home without a
    store has no such gate."""
    try:
        store = open_store()
    except Misused:
        return []
    except StoreUnavailable as error:
        hint = "start the database, or look at the disk"
        return [Finding(Severity.BAD, "store", clean(f"cannot be read: {error}"), hint, unavailable=True)]
    with store:
        last = await store.read(gates.last_of_each)
    return [finding for run in last if run.repo in config.repos for finding in _finding(run)]


def _finding(run: gates.LastRun) -> list[Finding]:
    subject = f"gate {run.gate} of {run.repo}"
    if NO_NETWORK in run.reason:
        what = f"failed without network on {words.day(run.closed_us)}"
        remedy = f"if it needs the network, add `network = true` to [gates.{run.gate}] on the base branch"
    elif run.isolation_known:
        return []
    else:
        what = "last ran with the machine's network, which gates no longer have"
        remedy = (
            f"try it with airboss gate try; if it needs the network, add `network = true` to [gates.{run.gate}] "
            "on the base branch"
        )
    return [Finding(Severity.WARN, subject, what, remedy)]
