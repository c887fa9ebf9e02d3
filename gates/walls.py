"""Which parts of the walls around its gates a verdict had to do without, in words. Nothing here runs or stores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fleet.config import RepoConfig
from fleet.model import Isolation, LandingMode, WithoutWalls
from fleet.verdict import GateResult, HeldPlace
from gates.runs.definitions import Definition


def without(results: Iterable[GateResult], defined: Iterable[Definition]) -> tuple[str, ...]:
    """A line for each machine and part."""
    networks = {definition.name: definition.network for definition in defined}
    found = set()
    for result in results:
        if result.evidence is None or not result.outcome.judged:
            continue
        seen, machine = result.evidence.isolation, result.evidence.machine
        if seen.shares_a_login:
            found.add(f"gates-share-a-login: {machine} cannot build walls around a run")
        if seen.shares_its_supervisors_login:
            found.add(f"supervisor-shares-login: on {machine} a run could reach its supervisor")
        if seen.shares_the_network and not networks.get(result.gate, True):
            found.add(f"network-shared: on {machine} a run that asked for no network had the machine's")
    return tuple(sorted(found))


def are_wanted(config: RepoConfig, isolation: Isolation) -> bool:
    """Whether a person looks before a change lands where walls were missing: unless ``fleet.toml`` says otherwise,
    for the repository or for the whole fleet."""
    asks = config.mode is LandingMode.MERGE and config.without_walls is WithoutWalls.ASK
    return asks and isolation is Isolation.SEPARATE_LOGINS


def asks(result: GateResult, definition: Definition) -> GateResult:
    """The result, held for a person where it had to do without a part."""
    lines = without([result], [definition])
    return replace(result, held=(*result.held, *(HeldPlace("", 0, line) for line in lines)))
