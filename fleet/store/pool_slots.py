"""The slots of pools. A row is committed before its provider is asked for anything, and stays: a slot's number is
never used again, so that a machine's name means one allocation for good."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select, update

from fleet.events import SlotMoved, Source
from fleet.model import AIRBOSS
from fleet.refs import Refs
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.store.queue_tables import pool_slots, reservations
from fleet.store.records import columns, reader
from fleet.store.statements import Statement, one_of
from fleet.store.states import SlotState
from fleet.store.tables import sessions

_OPEN: Final = tuple(state for state in SlotState if state is not SlotState.GONE)
_HOUR_US: Final = 3_600_000_000

_OPEN_SLOTS = Statement(select(pool_slots).where(one_of(pool_slots.c.state, _OPEN)))
_ENDED_SINCE = select(pool_slots).where(pool_slots.c.gone_us > bindparam("since"))
_BY_SLOT = Statement(select(pool_slots).where(pool_slots.c.slot == bindparam("of")))
_BY_NAME = select(pool_slots).where(pool_slots.c.name == bindparam("of"))
_LAST = select(func.coalesce(func.max(pool_slots.c.number), 0)).where(pool_slots.c.pool == bindparam("of"))
_CHANGE = update(pool_slots).where(pool_slots.c.slot == bindparam("key"))
_SESSION = select(sessions.c.id).where(sessions.c.machine == bindparam("of"), sessions.c.ended_us == 0).limit(1)
_RESERVED = select(reservations.c.task).where(reservations.c.machine == bindparam("of")).limit(1)


@dataclass(frozen=True, slots=True)
class PoolSlot:
    """A slot. ``slot`` is its machine's name, ``name`` what its provider calls it."""

    slot: str
    pool: str
    number: int
    name: str
    state: SlotState
    terms: str
    target: str
    price_udollar: int
    asked_us: int
    up_us: int = 0
    gone_us: int = 0
    tries: int = 0
    next_us: int = 0
    why: str = ""


_slot = reader(PoolSlot)


def prefix(instance: str, pool: str) -> str:
    """What the names of all slots of one pool of this store begin with."""
    return f"airboss-{instance}-{pool}-"


def ask(tx: Tx, *, instance: str, pool: str, terms: str, price_udollar: int) -> PoolSlot:
    """A new slot, before its provider is asked for it."""
    number = int(tx.connection.execute(_LAST, {"of": pool}).scalar_one()) + 1
    name = f"{prefix(instance, pool)}{number}-{secrets.token_hex(3)}"
    return _insert(tx, PoolSlot("", pool, number, name, SlotState.ASKED, terms, "", price_udollar, tx.now_us()), "")


def found(tx: Tx, *, pool: str, name: str, terms: str, price_udollar: int, before_us: int) -> PoolSlot | None:
    """A slot of ours that its provider had at that time and nobody uses, to be given back; ``None``: it is in use,
    or has ended since."""
    row = tx.connection.execute(_BY_NAME, {"of": name}).one_or_none()
    if row is not None and (row.state is not SlotState.GONE or row.gone_us >= before_us):
        return None
    if row is not None:
        _move(tx, _slot(row), SlotState.RELEASING, "its provider still has it", gone_us=0, tries=0, next_us=0)
        return of(tx, row.slot)
    number = int(tx.connection.execute(_LAST, {"of": pool}).scalar_one()) + 1
    left = PoolSlot("", pool, number, name, SlotState.RELEASING, terms, "", price_udollar, tx.now_us())
    return _insert(tx, left, "its provider has it and nobody knew of it")


def up(tx: Tx, slot: PoolSlot, target: str) -> None:
    """Its provider says where it is."""
    if of(tx, slot.slot).state is SlotState.ASKED:
        _move(tx, slot, SlotState.UP, "", target=target, up_us=tx.now_us())


def give_back(tx: Tx, slot: PoolSlot, why: str) -> None:
    """It is to end, before its provider is asked for that."""
    if of(tx, slot.slot).state not in (SlotState.RELEASING, SlotState.GONE):
        _move(tx, slot, SlotState.RELEASING, why)


def give_back_unused(tx: Tx, slot: PoolSlot, why: str) -> bool:
    """The same, unless a session has it or it is kept for one."""
    if of(tx, slot.slot).state is not SlotState.UP or in_use(tx, slot.slot):
        return False
    give_back(tx, slot, why)
    return True


def lose(tx: Tx, slot: PoolSlot, why: str) -> None:
    """It was taken away: what ran there is lost."""
    if of(tx, slot.slot).state is SlotState.UP:
        _move(tx, slot, SlotState.LOST, why)


def still_there(tx: Tx, slot: PoolSlot, why: str, next_us: int) -> None:
    """It could not be given back; tried again from ``next_us`` on, by the controller's clock."""
    tx.connection.execute(_CHANGE, {"key": slot.slot, "tries": slot.tries + 1, "next_us": next_us, "why": why})


def gone(tx: Tx, slot: PoolSlot) -> None:
    """Its provider says that it has ended."""
    if of(tx, slot.slot).state is SlotState.RELEASING:
        _move(tx, slot, SlotState.GONE, slot.why, gone_us=tx.now_us())


def of(tx: Tx, slot: str) -> PoolSlot:
    """The slot of that machine's name. Raises ``KeyError``."""
    row = _BY_SLOT.one(tx.connection, {"of": slot})
    if row is None:
        raise KeyError(slot)
    return _slot(row)


def is_gone(tx: Tx, machine: str) -> bool:
    """Whether a machine was a slot that has ended: nothing of it can be reached again."""
    row = _BY_SLOT.one(tx.connection, {"of": machine})
    return row is not None and row.state is SlotState.GONE


def open_slots(tx: Tx) -> list[PoolSlot]:
    """All that exist or may exist, in order."""
    slots = map(_slot, _OPEN_SLOTS.all(tx.connection, {}))
    return sorted(slots, key=lambda slot: (slot.pool, slot.number))


def in_use(tx: Tx, machine: str) -> bool:
    """Whether a session that has not ended is there, or it is kept for one."""
    queries = (_SESSION, _RESERVED)
    return any(tx.connection.execute(query, {"of": machine}).first() is not None for query in queries)


def unused(tx: Tx, slots: Collection[PoolSlot]) -> frozenset[str]:
    """Those of the slots that are up and have no session."""
    return frozenset(slot.slot for slot in slots if slot.state is SlotState.UP and not in_use(tx, slot.slot))


def cost_since(tx: Tx, since_us: int) -> Mapping[str, int]:
    """What each pool's slots cost since then, in micro-dollars: from the moment each was asked for until its
    provider said that it had ended."""
    now, costs = tx.now_us(), dict[str, int]()
    for row in (*_OPEN_SLOTS.all(tx.connection, {}), *tx.connection.execute(_ENDED_SINCE, {"since": since_us})):
        lasted = max(0, (row.gone_us or now) - max(row.asked_us, since_us))
        costs[row.pool] = costs.get(row.pool, 0) + lasted * row.price_udollar // _HOUR_US
    return costs


def _insert(tx: Tx, slot: PoolSlot, why: str) -> PoolSlot:
    machine = f"{slot.pool}-{slot.number}"
    tx.connection.execute(insert(pool_slots), {**columns(slot), "slot": machine, "why": why})
    _record(tx, replace(slot, slot=machine), "", slot.state, why)
    return of(tx, machine)


def _move(tx: Tx, slot: PoolSlot, state: SlotState, why: str, **more: Any) -> None:
    tx.connection.execute(_CHANGE, {"key": slot.slot, "state": state, "why": why, **more})
    _record(tx, slot, str(slot.state), state, why)


def _record(tx: Tx, slot: PoolSlot, old: str, new: SlotState, why: str) -> None:
    event = SlotMoved(slot.pool, slot.slot, slot.name, old, str(new), why)
    ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=Refs(machine=slot.slot))
