"""Pools on a screen of a phone: how many slots each has, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from bot import words
from bot.cards import Line, line, one_line
from fleet.config import FleetConfig
from fleet.flight.budgeting import day_began
from fleet.machines.pools.keeper import not_given_back
from fleet.store import pool_slots
from fleet.store.core import Tx
from fleet.store.pool_slots import PoolSlot
from fleet.store.states import SlotState
from fleet.zones import machine_zone

_WORDS = {
    SlotState.UP: "up",
    SlotState.ASKED: "being made",
    SlotState.LOST: "lost",
    SlotState.RELEASING: "being given back",
}
_SHOWN = 5
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
    more = [line(f"⚠ and {len(troubles) - _SHOWN} more")] if len(troubles) > _SHOWN else []
    return (
        *(_pool(config, name, seen) for name in names),
        *fewer,
        *(line("⚠ ", one_line(trouble, 200)) for trouble in troubles[:_SHOWN]),
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
