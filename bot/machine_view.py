"""Machines on a screen of a phone: the slots and costs of pools; what one machine offers and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from bot import words
from bot.cards import Card, Line, footed, line, one_line
from bot.telemetry_view import disk_line, paused_lines
from fleet.config import FleetConfig
from fleet.flight.budgeting import day_began
from fleet.machines.pools.keeper import not_given_back
from fleet.machines.probing import SIMULATOR, SYSTEMS
from fleet.machines.waking import next_try_us
from fleet.machines.watch import MachineSeen, MachineState, WakeTried
from fleet.model import Session, Task
from fleet.offers import Offers, offered
from fleet.ports import LoginFacts
from fleet.store import pool_slots
from fleet.store.core import Tx
from fleet.store.pool_slots import PoolSlot
from fleet.store.queue import Pause
from fleet.store.states import SlotState
from fleet.zones import machine_zone

_WORDS = {
    SlotState.UP: "up",
    SlotState.ASKED: "being made",
    SlotState.LOST: "lost",
    SlotState.RELEASING: "being given back",
}
_TROUBLES = 5
_SHOWN = 8
_POOLS = 6


@dataclass(frozen=True, slots=True)
class PoolsSeen:
    """The slots that exist or may exist, and what each pool's cost today, by the controller's clock and zone."""

    slots: Sequence[PoolSlot]
    costs: Mapping[str, int]


def pools_seen(tx: Tx) -> PoolsSeen:
    """As the store has them."""
    today_us = day_began(tx.now_us(), ZoneInfo(machine_zone()))
    return PoolsSeen(pool_slots.open_slots(tx), pool_slots.cost_since(tx, today_us))


def pool_lines(config: FleetConfig, seen: PoolsSeen, notes: Sequence[str]) -> tuple[Line, ...]:
    """A line for each pool, then what is wrong."""
    with_slots = {slot.pool for slot in seen.slots}
    names = sorted({*config.pools, *with_slots}, key=lambda name: (name not in with_slots, name))
    fewer = [line(f"and {len(names) - _POOLS} more pools")] if len(names) > _POOLS + 1 else []
    names = names[:_POOLS] if fewer else names
    troubles = [*filter(None, map(not_given_back, seen.slots)), *notes]
    more = [line(f"⚠ and {len(troubles) - _TROUBLES} more")] if len(troubles) > _TROUBLES else []
    return (
        *(_pool(config, name, seen) for name in names),
        *fewer,
        *(line("⚠ ", one_line(trouble, 200)) for trouble in troubles[:_TROUBLES]),
        *more,
    )


def _pool(config: FleetConfig, name: str, seen: PoolsSeen) -> Line:
    pool, states = config.pools.get(name), [slot.state for slot in seen.slots if slot.pool == name]
    has = ", ".join(f"{states.count(state)} {word}" for state, word in _WORDS.items() if state in states)
    most = f" of at most {pool.most}" if pool else ", no longer in fleet.toml"
    price = f" · {words.money(pool.price_udollar)} an hour each" if pool and pool.price_udollar else ""
    today = f" · {words.money(seen.costs[name])} today" if seen.costs.get(name) else ""
    return line(f"pool {name}: {has or 'no slots'}{most}{price}{today}")


def plain_pools(config: FleetConfig, seen: PoolsSeen) -> list[dict[str, object]]:
    """The same for scripts. Money is in micro-dollars."""
    names = sorted({*config.pools, *(slot.pool for slot in seen.slots)})
    return [
        {
            "name": name,
            "most": config.pools[name].most if name in config.pools else 0,
            "labels": list(config.pools[name].labels) if name in config.pools else [],
            "price_udollar": config.pools[name].price_udollar if name in config.pools else 0,
            "today_udollar": seen.costs.get(name, 0),
            "slots": [
                {
                    "machine": slot.slot,
                    "name": slot.name,
                    "state": str(slot.state),
                    "asked_us": slot.asked_us,
                    "tries": slot.tries,
                    "why": slot.why,
                }
                for slot in seen.slots
                if slot.pool == name
            ],
        }
        for name in names
    ]


def machine_card(
    config: FleetConfig,
    name: str,
    seen: MachineSeen,
    *,
    at_work: Sequence[Session],
    waiting: Sequence[Task],
    pause: Pause | None,
    now_us: int,
) -> Card:
    """The whole screen of one machine. ``waiting``: the tasks that it could take if it were awake."""
    machine = config.machines[name]
    declared = [label for label, _ in map(offered, machine.labels)]
    lines = [_contact(seen, now_us)]
    if seen.state.is_bad and seen.hint:
        lines.append(line(one_line(seen.hint, 200)))
    if machine.wake and seen.state is MachineState.AWAY:
        lines.append(_waking(seen.wake, now_us))
    if waiting:
        lines.append(line(f"waits for it: {words.some((task.id for task in waiting), _SHOWN)}"))
    if pause is not None:
        lines += paused_lines(config, {name: pause}, now_us)
    if seen.facts is not None:
        lines.append(_system(seen.facts))
    if seen.offers is not None:
        lines += _offers(config, seen, declared)
    if machine.labels:
        lines.append(line("labels: ", ", ".join(machine.labels)))
    if seen.disk is not None:
        lines.append(line(disk_line(seen.disk)))
    if at_work:
        lines.append(line(f"at work: {words.some((session.task for session in at_work), _SHOWN)}"))
    mark = "⚠" if seen.state.is_bad else "●"
    return Card(
        line(f"{mark} {name} · {len(at_work)}/{machine.slots} slots"), tuple(lines), footer=footed(config.isolation)
    )


def _contact(seen: MachineSeen, now_us: int) -> Line:
    never = str(MachineState.NEVER.value)
    ago = f"{words.about(now_us - seen.seen_us)} ago" if seen.seen_us else ""
    if seen.state.is_bad:
        return line(f"{seen.state.value} · {f'last seen {ago}' if ago else never} · ", one_line(seen.why, 80))
    return line(f"seen {ago}" if ago else never)


def _waking(tried: WakeTried | None, now_us: int) -> Line:
    if tried is None:
        return line("woken when work waits for it")
    in_us = next_try_us(tried) - now_us
    again = f"again in {words.about(in_us)}" if in_us > 0 else "again when work waits"
    why = (" · ", one_line(tried.why, 100)) if tried.why else ()
    return line(f"tried to wake it {words.count(tried.times, 'time')}, {again}", *why)


def _system(facts: LoginFacts) -> Line:
    system = f"{SYSTEMS.get(facts.system, facts.system)} {facts.release}"
    memory = f" · {words.size(facts.memory)} memory" if facts.memory else ""
    free = f", {words.size(facts.memory_free)} free" if facts.memory_free else ""
    load = f" · load {facts.load_milli / 1000:.1f} on {words.count(facts.cpus, 'cpu')}"
    return line(one_line(system, 40), " · ", one_line(facts.arch, 20), f"{memory}{free}{load}")


def _offers(config: FleetConfig, seen: MachineSeen, declared: Sequence[str]) -> list[Line]:
    offers = seen.offers or {}
    there = [_versioned(name, offers) for name in config.agents if name in offers and name not in declared]
    lines = [line("agents: ", one_line(", ".join(there), 200))] if there else []
    if seen.absent:
        lines.append(line("not installed: ", ", ".join(sorted(seen.absent))))
    if "xcode" in offers and "xcode" not in declared:
        count = sum(label.startswith(SIMULATOR) for label in offers)
        lines.append(line(_versioned("xcode", offers), f" · {words.count(count, 'simulator')}"))
    return lines


def _versioned(label: str, offers: Offers) -> str:
    return f"{label} {offers[label]}".rstrip()
