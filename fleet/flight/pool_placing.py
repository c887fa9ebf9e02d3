"""What pools mean for a placement: which may make a slot for a task, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleet.config import PoolConfig
from fleet.offers import lacking, offered
from fleet.store.pool_slots import PoolSlot
from fleet.store.states import SlotState


@dataclass(frozen=True, slots=True)
class PoolNow:
    """A pool at one moment. ``slots``: those that exist or may exist, by their machines' names. ``trouble``: why it
    makes none now."""

    config: PoolConfig
    slots: Mapping[str, SlotState] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Growth:
    """``pool`` is to make a slot; empty: none is. ``reasons``: a line for each pool. ``possible``: some pool makes
    slots for such a task, now or later."""

    pool: str = ""
    reasons: tuple[str, ...] = ()
    possible: bool = False


def pools_now(
    pools: Mapping[str, PoolConfig], slots: Sequence[PoolSlot], troubles: Mapping[str, str]
) -> Mapping[str, PoolNow]:
    """Every pool, those too that are no longer configured and still have slots."""
    states: dict[str, dict[str, SlotState]] = {name: {} for name in pools}
    for slot in slots:
        states.setdefault(slot.pool, {})[slot.slot] = slot.state
    terms = {slot.pool: slot.terms for slot in slots}
    return {
        name: PoolNow(
            pools[name]
            if name in pools
            else PoolConfig.model_validate_json(terms[name]).model_copy(update=_NO_MORE),
            theirs,
            troubles.get(name, ""),
        )
        for name, theirs in states.items()
    }


_NO_MORE = {"most": 0}


def growth(wanted: str, needs: Sequence[str], pools: Mapping[str, PoolNow]) -> Growth:
    """Which pool makes a slot for a task with these needs: the cheapest that can. ``wanted``: the machine or pool
    that the task asks for."""
    reasons, able, possible = list[str](), list[str](), False
    for name in sorted(pools, key=lambda name: (pools[name].config.price_udollar, name)):
        pool = pools[name]
        if wanted not in {"", name} or not pool.config.most:
            continue
        missing = lacking(needs, dict(map(offered, pool.config.labels)))
        possible = possible or not missing
        why = f"lacks {', '.join(missing)}" if missing else _coming(pool).removeprefix(f"pool {name} ")
        reasons.append(f"{name}: {why}")
        if not missing and not pool.trouble:
            able.append(name)
    with_room = (name for name in able if len(pools[name].slots) < pools[name].config.most)
    return Growth(next(with_room, next(iter(able), "")), tuple(reasons), possible)


def _coming(pool: PoolNow) -> str:
    if pool.trouble:
        return pool.trouble
    making = sum(state is SlotState.ASKED for state in pool.slots.values())
    if making:
        return "a slot is being made" if making == 1 else f"{making} slots are being made"
    many, most = len(pool.slots), pool.config.most
    return f"has {many} of at most {most} slots" if many >= most else "a slot is asked for"


def slot_of(machine: str, pools: Mapping[str, PoolNow]) -> str:
    """Why a machine takes nothing because of what it is as a slot; empty: it is none, or it may."""
    states = (pool.slots[machine] for pool in pools.values() if machine in pool.slots)
    match next(states, SlotState.UP):
        case SlotState.UP:
            return ""
        case SlotState.LOST:
            return "was taken away"
        case _:
            return "is given back"
