"""Asks for slots while work waits for them, gives back those that nobody uses, and looks for lost ones.

Each step is a row of the store before it is an effect, so that a slot that may cost money is never forgotten: what
was being asked for when the controller ended is given back by its name, and giving back is tried again until the
provider says that the slot has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from fleet.config import FleetConfig, MachineConfig, PoolConfig
from fleet.config.pools import Target
from fleet.config.slots import machine, stored_target, unfit
from fleet.config.values import duration_us
from fleet.errors import AirbossError, LeadershipLost, StoreUnavailable
from fleet.failpoints import failpoint
from fleet.machines.executors import Executors
from fleet.machines.pools.pauses import PAUSES_US, Pauses
from fleet.machines.watch import MachineSeen, MachineState
from fleet.pool_ports import SlotProvider
from fleet.ports import Clock
from fleet.store import pool_slots, trees
from fleet.store.core import Store, Tx
from fleet.store.pool_slots import PoolSlot
from fleet.store.states import SlotState
from fleet.store.trees import Unlanded
from fleet.supervise import OwnedTasks, first, retry_while_store_is_away

_log = logging.getLogger(__name__)

_EVERY_S: Final = 2.0
_AFTER_A_BUG_S: Final = 60.0
_MISSED_TWICE: Final = 2
_WHY: Final = 300


class SlotsTaken(Protocol):
    """The current configuration, which takes the machines that slots are."""

    def __call__(self) -> FleetConfig:
        """The fleet with its slots."""

    def take(self, machines: Mapping[str, MachineConfig]) -> None:
        """From now on these are the slots."""


@dataclass(frozen=True, slots=True)
class PoolNeeds:
    """What the keeper needs of others. ``wanted``: how many tasks wait for a slot of each pool; ``save``: keeps the
    work of ended tasks on a machine; ``provider``: the pool's. ``troubles``: why a pool makes no slots now, for the
    placer. ``tell`` is called when a task that waits may have another answer. ``sure`` comes back while nobody else
    may lead: a slot that is made by one that was frozen meanwhile is in nobody's books."""

    wanted: Callable[[Tx], Mapping[str, int]]
    save: Callable[[str], Awaitable[None]]
    provider: Callable[[str, PoolConfig], SlotProvider]
    seen: Mapping[str, MachineSeen]
    troubles: dict[str, str]
    tell: Callable[[], None]
    sure: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Remembered:
    """What need not outlive the controller: forgetting it costs a little money or time, never a slot."""

    idle_us: dict[str, int] = field(default_factory=dict)  # since when a slot has had no session
    missed: Counter[str] = field(default_factory=Counter)  # how often in a row its provider did not have it
    kept: dict[str, str] = field(default_factory=dict)  # why an idle slot is not given back
    odd: dict[str, str] = field(default_factory=dict)  # what a provider says that cannot be
    looked_us: dict[str, int] = field(default_factory=dict)  # when a pool's inventory was asked for


class PoolKeeper:
    """``load`` first: sessions on slots go on only once the configuration has them."""

    def __init__(
        self, store: Store, config: SlotsTaken, executors: Executors, clock: Clock, needs: PoolNeeds
    ) -> None:
        self._store, self._config, self._executors, self._clock = store, config, executors, clock
        self._needs, self._woken, self._one = needs, asyncio.Event(), asyncio.Lock()
        self._slots: list[PoolSlot] = []
        self._pools: Mapping[str, PoolConfig] = {}
        self._busy: set[str] = set()  # slots, and pools, that something is done about now
        self._mine: set[str] = set()  # slots that this process asked for
        self._memory, self._pauses = _Remembered(), Pauses(needs.troubles, needs.tell)

    @property
    def trouble(self) -> str:
        """One line about what is wrong with a slot, the dearest kind first; empty: nothing."""
        lines = (*(line for slot in self._slots if (line := not_given_back(slot))), *self.notes)
        more = f" and {len(lines) - 1} more: /machines" if len(lines) > 1 else ""
        return f"{lines[0]}{more}" if lines else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know beside the slots that could not be given back."""
        memory = self._memory
        return (*memory.kept.values(), *memory.odd.values(), *self._needs.troubles.values())

    async def load(self) -> None:
        """Takes the slots as the store has them. Raises ``StoreUnavailable``."""
        slots, pools = await self._store.read(pool_slots.open_slots), self._config().pools
        if slots != self._slots or pools != self._pools:
            self._pools = pools
            self._publish(slots)

    async def run(self) -> None:
        """Until cancelled."""
        tasks = OwnedTasks()
        try:
            while True:
                self._woken.clear()
                await retry_while_store_is_away(partial(self.look, tasks), self._clock)
                await first(self._woken.wait(), self._clock.sleep(_EVERY_S))
        finally:
            await tasks.end()

    async def look(self, tasks: OwnedTasks) -> None:
        """Begins what is due; each slot's steps run beside those of others."""
        await self.load()
        now = self._clock.now_us()
        for slot in self._slots:
            match slot.state:
                case SlotState.ASKED if slot.slot not in self._mine:
                    await self._move(slot, "the controller ended while it was asked for")
                case SlotState.RELEASING if now >= slot.next_us:
                    self._begin(tasks, slot.slot, partial(self._release, slot))
                case _:
                    pass
        self._pauses.end(now)
        # In one view: a task that is placed between two would be given a second slot.
        wanted, unused = await self._store.read(self._view)
        self._look_at_idle(tasks, now, wanted, unused)
        await self._ask(tasks, wanted, unused)
        for name, pool in self._config().pools.items():
            every = duration_us(pool.inventory_every)
            if pool.has_inventory and now >= self._memory.looked_us.get(name, now - every) + every:
                self._memory.looked_us[name] = now
                self._begin(tasks, f"inventory of {name}", partial(self.compare, name))

    def _view(self, tx: Tx) -> tuple[Mapping[str, int], frozenset[str]]:
        """How many tasks wait for each pool, and the slots that nobody uses."""
        return self._needs.wanted(tx) if self._config().pools else {}, pool_slots.unused(tx, self._slots)

    # --- asking

    async def _ask(self, tasks: OwnedTasks, wanted: Mapping[str, int], unused: frozenset[str]) -> None:
        config = self._config()
        for name, count in wanted.items():
            if (pool := config.pools.get(name)) is None:
                continue
            theirs = [slot for slot in self._slots if slot.pool == name]
            coming = sum(slot.state is SlotState.ASKED or slot.slot in unused for slot in theirs)
            if name in self._needs.troubles:
                continue
            for _ in range(min(count - coming, pool.most - len(theirs))):
                slot = await self._store.write(
                    partial(
                        pool_slots.ask,
                        instance=self._store.instance,
                        pool=name,
                        terms=pool.model_dump_json(),
                        price_udollar=pool.price_udollar,
                    )
                )
                self._mine.add(slot.slot)
                failpoint("pool-slot-asked")
                self._begin(tasks, slot.slot, partial(self._make, slot, pool))
        await self.load()

    async def _make(self, slot: PoolSlot, pool: PoolConfig) -> None:
        try:
            await self._acquire(slot, pool)
        finally:  # one that is not up by now is given back
            self._mine.discard(slot.slot)

    async def _acquire(self, slot: PoolSlot, pool: PoolConfig) -> None:
        await self._needs.sure()
        try:
            target = await self._needs.provider(slot.pool, pool).acquire(slot.name)
        except AirbossError as error:
            _raise_ours(error)
            why = error.cause or str(error)
        else:
            failpoint("pool-slot-acquired")
            why = await self._take(slot, pool, target)
        if why:
            _log.warning("slot %s was not made: %s", slot.slot, why)
            self._pauses.begin(slot.pool, why, self._clock.now_us())
            await self._move(slot, why)
        else:
            self._pauses.made(slot.pool)

    async def _take(self, slot: PoolSlot, pool: PoolConfig, target: Target) -> str:
        """Makes a slot a machine of the fleet, unless it does not fit: why not. One at a time, since two could be
        the same login."""
        async with self._one:
            why = unfit(self._config(), slot.slot, machine(pool, target), [other.slot for other in self._slots])
            if why:
                return why
            said = target.model_dump_json()
            # It is made, and costs: given back and asked for again, it would be made twice.
            up = partial(self._store.write, lambda tx: pool_slots.up(tx, slot, said))
            await retry_while_store_is_away(up, self._clock)
            failpoint("pool-slot-up")
            await self.load()
            return ""

    # --- giving back

    def _look_at_idle(self, tasks: OwnedTasks, now: int, wanted: Mapping[str, int], unused: frozenset[str]) -> None:
        """Begins to give back what nobody has used for long. A slot that answers is not idle while a task waits for
        one of its pool."""
        since, awaited = self._memory.idle_us, Counter(wanted)
        for slot in self._slots:
            if slot.slot not in unused:
                since.pop(slot.slot, None)
                self._memory.kept.pop(slot.slot, None)
                if slot.state is SlotState.LOST:
                    self._begin(tasks, slot.slot, partial(self._end_lost, slot))
            elif awaited[slot.pool] > 0 and not self._seen_as(slot).is_bad:
                awaited[slot.pool] -= 1
                since.pop(slot.slot, None)
            elif now >= since.setdefault(slot.slot, now) + duration_us(self._pool(slot).idle):
                self._begin(tasks, slot.slot, partial(self._end_idle, slot))

    async def _end_idle(self, slot: PoolSlot) -> None:
        """Gives an unused slot back once no ended task has work that is only there."""
        await self._needs.save(slot.slot)
        if left := await self._store.write(partial(_give_back_safe, slot=slot)):
            tasks = ", ".join(dict.fromkeys(tree.task.id for tree in left))
            self._memory.kept[slot.slot] = f"{slot.slot} is kept: the work of {tasks} is only there (/unlanded)"
            self._memory.idle_us[slot.slot] = self._clock.now_us()  # looked at again after as long a time
            return
        failpoint("pool-slot-releasing")
        await self.load()

    async def _end_lost(self, slot: PoolSlot) -> None:
        """What is left of a slot that was taken away ends too, once no session waits for what it said last."""
        if not await self._store.read(lambda tx: pool_slots.in_use(tx, slot.slot)):
            await self._move(slot, slot.why)

    async def _release(self, slot: PoolSlot) -> None:
        await self._executors.drop(slot.slot)
        try:
            await self._needs.provider(slot.pool, self._pool(slot)).release(slot.name, slot.target)
        except AirbossError as error:
            _raise_ours(error)
            why = (error.cause or str(error))[:_WHY]
            _log.warning("slot %s was not given back: %s", slot.slot, why)
            next_us = self._clock.now_us() + PAUSES_US[min(slot.tries + 1, len(PAUSES_US)) - 1]
            await self._store.write(lambda tx: pool_slots.still_there(tx, slot, why, next_us))
        else:
            failpoint("pool-slot-released")
            await self._store.write(lambda tx: pool_slots.gone(tx, slot))
        await self.load()

    # --- what the provider has

    async def compare(self, pool: str) -> None:
        """Compares what a provider has with the rows: ends what nobody uses, and notices what was taken away."""
        config, before = self._config().pools.get(pool), await self._store.read(lambda tx: tx.now_us())
        if config is None:
            return
        try:
            names = await self._needs.provider(pool, config).names()
        except AirbossError as error:
            _raise_ours(error)
            self._memory.odd[pool] = f"pool {pool} cannot be looked at: {(error.cause or str(error))[:_WHY]}"
            return
        self._memory.odd.pop(pool, None)
        if names is None:
            return
        begins = pool_slots.prefix(self._store.instance, pool)
        ours = sorted(name for name in names if name.startswith(begins))
        await self._end_strays(pool, config, ours, before)
        for slot in self._slots:
            if slot.pool == pool and slot.state is SlotState.UP and slot.up_us < before:
                await self._missed(slot, is_there=slot.name in names)

    async def _end_strays(self, pool: str, config: PoolConfig, ours: Sequence[str], before: int) -> None:
        known = {slot.name for slot in self._slots}
        terms, price = config.model_dump_json(), config.price_udollar
        for name in ours:
            if name in known:
                continue
            stray = await self._store.write(
                partial(pool_slots.found, pool=pool, name=name, terms=terms, price_udollar=price, before_us=before)
            )
            if stray is not None:
                _log.warning("%s has %s, which nobody uses: it is given back", pool, name)
        await self.load()
        self._woken.set()

    async def _missed(self, slot: PoolSlot, *, is_there: bool) -> None:
        """A slot is lost when its provider no longer has it and it does not answer either, twice in a row: neither
        is believed alone."""
        memory, away = self._memory, self._seen_as(slot) in (MachineState.AWAY, MachineState.UNUSABLE)
        memory.odd.pop(slot.slot, None)
        if is_there or not away:
            memory.missed.pop(slot.slot, None)
            if not is_there:
                memory.odd[slot.slot] = f"{slot.slot} answers, but its provider does not list it"
            return
        memory.missed[slot.slot] += 1
        if memory.missed.pop(slot.slot) < _MISSED_TWICE:
            memory.missed[slot.slot] = 1
            return
        why = "its provider no longer has it, and it does not answer"
        _log.warning("slot %s is lost: %s", slot.slot, why)
        await self._store.write(lambda tx: pool_slots.lose(tx, slot, why))
        failpoint("pool-slot-lost")
        await self.load()

    # --- common to all

    def _seen_as(self, slot: PoolSlot) -> MachineState:
        seen = self._needs.seen.get(slot.slot)
        return MachineState.NEVER if seen is None else seen.state

    def _pool(self, slot: PoolSlot) -> PoolConfig:
        """A slot's pool as it is configured; if it no longer is, as it was."""
        pool = self._config().pools.get(slot.pool)
        return pool if pool is not None else PoolConfig.model_validate_json(slot.terms)

    async def _move(self, slot: PoolSlot, why: str) -> None:
        await self._store.write(lambda tx: pool_slots.give_back(tx, slot, why[:_WHY]))
        await self.load()
        self._woken.set()

    def _begin(self, tasks: OwnedTasks, key: str, work: Callable[[], Awaitable[None]]) -> None:
        """Starts ``work`` unless something is done about this already. A store that is away ends it: the next look
        begins it again from the rows."""
        if key in self._busy:
            return
        self._busy.add(key)

        async def alone() -> None:
            try:
                await work()
            except StoreUnavailable as error:
                _log.warning("%s waits for the store: %s", key, error)
            except LeadershipLost:
                raise
            except Exception:
                _log.exception("%s failed", key)
                await self._clock.sleep(_AFTER_A_BUG_S)
            finally:
                self._busy.discard(key)

        tasks.begin(alone(), key)

    def _publish(self, slots: list[PoolSlot]) -> None:
        self._slots = slots
        machines = {
            slot.slot: machine(self._pool(slot), stored_target(slot.target))
            for slot in slots
            if slot.state in (SlotState.UP, SlotState.LOST)
        }
        self._config.take(machines)
        self._executors.reconfigure(self._config())
        for slot in slots:
            if slot.state is SlotState.LOST:
                self._executors.lose(slot.slot, slot.why)
        memory, known = self._memory, {*(slot.slot for slot in slots), *self._pools}
        for forgotten in (memory.idle_us, memory.kept, memory.missed, memory.odd):
            for name in forgotten.keys() - known:
                del forgotten[name]
        self._pauses.forget(self._pools)
        self._needs.tell()


def _give_back_safe(tx: Tx, slot: PoolSlot) -> list[Unlanded]:
    """Gives an unused slot back, unless there is work of ended tasks that is only there."""
    left = trees.closed_worktrees(tx, tx.now_us(), slot.slot)
    if not left:
        pool_slots.give_back_unused(tx, slot, "nobody used it")
    return left


def not_given_back(slot: PoolSlot) -> str:
    """What to say of a slot that could not be given back; empty for any other one."""
    if slot.state is not SlotState.RELEASING or not slot.tries:
        return ""
    tries = "once" if slot.tries == 1 else f"{slot.tries} times"
    return f"{slot.slot} may still cost money: it could not be given back (tried {tries}): {slot.why}"


def _raise_ours(error: AirbossError) -> None:
    """An error of the store or of leadership is no answer of a provider."""
    if isinstance(error, StoreUnavailable | LeadershipLost):
        raise error
