"""What each machine offers, as the queue and the gates see it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

from bot.doctor.findings import Finding, Severity
from bot.doctor.mac import check_mac
from fleet.clock import SystemClock
from fleet.config import FleetConfig
from fleet.machines.executors import Executors
from fleet.machines.probing import SIMULATOR
from fleet.machines.watch import MachineSeen, MachineState, MachineWatch


async def check_offers(
    config: FleetConfig, executors: Executors
) -> tuple[list[Finding], Mapping[str, MachineSeen]]:
    """A finding for each machine that answers, and what was seen of all."""
    watch = MachineWatch(lambda: config, executors, SystemClock())
    await watch.probes.look()
    await watch.look()
    findings = [_finding(name, seen) for name, seen in watch.seen.items() if seen.facts is not None]
    for name, seen in watch.seen.items():
        if seen.facts and seen.facts.system == "darwin":
            findings += on_mac(name)
            findings += await check_mac(config, name, executors.agent(name))
    return [*findings, *_doubled(config, watch.seen), *_wakes(config)], watch.seen


def on_mac(name: str) -> list[Finding]:
    """What was never run on a Mac, and how to see for yourself."""
    untested = {
        "labels of Xcode and its simulators, keeping it awake with caffeinate": (
            "compare /machines NAME and `pmset -g assertions` there"
        ),
        "logins of a pool (what ends and clears them, `airboss machines setup`), the end of what a run leaves": (
            "read what doctor's crossings say about this machine; after a task, look at `ps -U LOGIN` there"
        ),
    }
    subject = f"machine {name}"
    return [Finding(Severity.WARN, subject, f"untested on macOS: {what}", how) for what, how in untested.items()]


def _doubled(config: FleetConfig, found: Mapping[str, MachineSeen]) -> Iterator[Finding]:
    known: dict[tuple[str, int, str], str] = {}
    for name, machine in config.machines.items():
        seen = found.get(name)
        if seen is None or seen.facts is None or not seen.facts.boot:
            continue
        login = seen.facts.boot, seen.facts.uid, machine.home or seen.facts.home
        if (other := known.setdefault(login, name)) != name:
            what = f"is the same login as machine {other}: its slots count twice"
            yield Finding(Severity.WARN, f"machine {name}", what, "remove one of the two from fleet.toml")


def _wakes(config: FleetConfig) -> Iterator[Finding]:
    for name, machine in config.machines.items():
        if machine.wake and shutil.which(machine.wake[0]) is None:
            what = f"cannot be woken: {machine.wake[0]} is not here"
            yield Finding(Severity.WARN, f"machine {name}", what, f"install it, or change [machines.{name}] wake")


def _finding(name: str, seen: MachineSeen) -> Finding:
    subject = f"machine {name}"
    if seen.state is MachineState.FAULTY:
        return Finding(Severity.BAD, subject, f"faulty: {seen.why}", "check the agents' login there")
    if seen.offers is None:
        return Finding(Severity.WARN, subject, "does not say what it offers", "repeat this when it is less busy")
    labels = [f"{label} {version}".rstrip() for label, version in sorted(seen.offers.items())]
    named = [label for label in labels if not label.startswith(SIMULATOR)]
    simulators = len(labels) - len(named)
    more = f", {simulators} simulators" if simulators else ""
    return Finding(Severity.OK, subject, f"offers {', '.join(named)}{more}")
