"""Chooses a machine for a task, and explains why not the others. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fleet.config import FleetConfig, MachineConfig
from fleet.model import Task


@dataclass(frozen=True, slots=True)
class Placed:
    """``machine`` takes the task; ``passed_over`` says why the others do not, one line each."""

    machine: str
    passed_over: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """No machine can take it now; one can when a slot is free."""

    why: str


@dataclass(frozen=True, slots=True)
class Impossible:
    """No machine of this fleet can take it with the current configuration; ``hint`` says how to fix that."""

    why: str
    hint: str


def place(
    task: Task,
    config: FleetConfig,
    busy: Mapping[str, int],
    *,
    drained: Collection[str] = (),
    ahead: Sequence[Task] = (),
    logins: Mapping[str, Sequence[str]] = MappingProxyType({}),
    full: Collection[str] = (),
) -> Placed | Waiting | Impossible:
    """Chooses the machine with the most free slots (ties: by name).

    ``busy`` counts the sessions that hold a slot, by machine; on ``drained`` machines nothing new starts, nor where
    the disk is ``full``; the tasks ``ahead`` choose first, in their order. ``logins`` are those that sessions have,
    by machine.
    """
    taken, kept = Counter(busy), Counter({name: len(used) for name, used in logins.items()})
    for earlier in ahead:
        held = {name: [""] * count for name, count in kept.items()}
        placed = place(earlier, config, taken, drained=drained, logins=held, full=full)
        if isinstance(placed, Placed):
            taken[placed.machine] += 1
            kept[placed.machine] += 1
    if task.agent not in config.agents:
        return Impossible(f"unknown agent {task.agent!r}", f"Known agents: {_list(config.agents)}.")
    if task.machine and task.machine not in config.machines:
        return Impossible(f"unknown machine {task.machine!r}", f"Known machines: {_list(config.machines)}.")
    candidates = [task.machine] if task.machine else sorted(config.machines)
    if not candidates:
        return Impossible("the fleet has no machines", "Add one with `airboss machines add`.")
    free: list[tuple[int, str]] = []
    passed_over: list[str] = []
    for name in candidates:
        slots, used = config.machines[name].slots, taken[name]
        if name in drained:
            passed_over.append(f"{name}: drained")
        elif name in full:
            passed_over.append(f"{name}: its disk is almost full")
        elif busy.get(name, 0) < slots <= used:
            passed_over.append(f"{name}: its free slots are for earlier tasks")
        elif used >= slots:
            passed_over.append(f"{name}: {used} of {slots} slots busy")
        elif config.machines[name].has_agent_pool and kept[name] >= len(config.machines[name].agent_logins):
            passed_over.append(f"{name}: each of its {len(config.machines[name].agent_logins)} logins has a task")
        else:
            free.append((used - slots, name))
    if not free:
        return Waiting("; ".join(passed_over))
    free.sort()
    chosen = free[0][1]
    passed_over += [f"{name}: {chosen} has more free slots" for _, name in free[1:]]
    return Placed(chosen, tuple(passed_over))


def free_login(machine: MachineConfig, used: Collection[str]) -> str | None:
    """A login of the machine's pool for a session; ``None`` while sessions have them all.

    Empty where there is no pool. ``used``: as for ``place``; a session from before there was a pool has the first.
    """
    if not machine.has_agent_pool:
        return ""
    first, *_ = machine.agent_logins
    taken = {login or first for login in used}
    return next((login for login in machine.agent_logins if login not in taken), None)


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
