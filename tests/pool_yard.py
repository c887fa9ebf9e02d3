"""A farm of slots, a store, and keepers of them: what tests of pools share. ``python -m tests.pool_yard DIRECTORY``
is a process that has slots, for a test that kills it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from bot.reload import LiveConfig
from fleet.config import Secrets
from fleet.errors import LeadershipLost
from fleet.flight.pool_placing import growth, pools_now
from fleet.machines.executors import Executors
from fleet.machines.pools.command import CommandProvider
from fleet.machines.pools.keeper import PoolKeeper, PoolNeeds
from fleet.machines.watch import MachineSeen, MachineState
from fleet.pool_ports import SlotProvider
from fleet.store import pool_slots
from fleet.store.core import Store, Tx
from fleet.store.pool_slots import PoolSlot
from fleet.supervise import OwnedTasks, alongside
from tests.empty_store import filled
from tests.far_end.farm import Farm
from tests.far_end.sshd import new_key
from tests.rows import asked, placed


@dataclass
class Hands:
    """A clock that a test turns."""

    us: int = 1_000_000

    def now_us(self) -> int:
        return self.us

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


@dataclass
class Yard:
    """A farm, a store, and keepers of them; ``wants`` tasks wait, for the pool that a placement chooses."""

    store: Store
    farm: Farm
    home: Path
    clock: Hands = field(default_factory=Hands)
    wants: int = 0
    seen: dict[str, MachineSeen] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    saved: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    tasks: OwnedTasks = field(default_factory=OwnedTasks)
    provider: SlotProvider | None = None  # in place of the farm's commands
    meanwhile: Callable[[Tx], object] | None = None  # committed by others once it is read what waits
    fenced: bool = False  # another controller leads, which this one does not know yet

    def configure(self, **more: Any) -> None:
        pool = self.farm.pool(**{"most": 2, "idle": "10m", "price": "0.60", **more})
        document = {"isolation": "unsafe-same-user", "pools": {"farm": pool}}
        (self.home / "fleet.toml").write_text(tomlkit.dumps(document))
        self.live = LiveConfig(self.home, self.clock)
        self.executors = Executors(self.live(), self.home)
        self.keeper = self.new_keeper()

    async def edit(self, text: str) -> None:
        """Edits ``fleet.toml`` and waits until it was read again."""
        read = asyncio.Event()

        async def changed() -> None:
            read.set()

        async with alongside(self.live.watch(changed), "fleet.toml"):
            (self.home / "fleet.toml").write_text(text)
            await read.wait()

    def new_keeper(self) -> PoolKeeper:
        """As after a restart of the controller."""
        self.troubles.clear()
        loop = asyncio.get_running_loop()

        async def save(machine: str) -> None:
            self.saved.append(machine)

        def wanted(tx: Tx) -> Mapping[str, int]:
            pools = pools_now(self.live().pools, pool_slots.open_slots(tx), self.troubles)
            if self.meanwhile is not None:
                asyncio.run_coroutine_threadsafe(self.store.write(self.meanwhile), loop).result()
                self.meanwhile = None
            return {growth("", (), pools).pool: self.wants} if self.wants else {}

        needs = PoolNeeds(
            wanted=wanted,
            save=save,
            provider=lambda name, pool: self.provider or CommandProvider(name, pool, Secrets(self.env)),
            seen=self.seen,
            troubles=self.troubles,
            tell=lambda: None,
            sure=self._sure,
        )
        return PoolKeeper(self.store, self.live, self.executors, self.clock, needs)

    async def _sure(self) -> None:
        if self.fenced:
            raise LeadershipLost(attempted="lead", on="leader", cause="it passed to another")

    async def look(self) -> None:
        """Looks, and lets all that it begins come to an end."""
        await self.keeper.look(self.tasks)
        await self.settle()

    async def idle(self) -> None:
        """Long enough that what nobody uses is given back."""
        for _ in range(3):
            await self.look()
            self.clock.us += 31 * 60_000_000

    async def settle(self) -> None:
        while len(self.tasks):
            await asyncio.sleep(0.005)
        await self.keeper.load()

    async def slots(self) -> list[PoolSlot]:
        return await self.store.read(pool_slots.open_slots)

    async def states(self) -> list[str]:
        return [f"{slot.slot} {slot.state}" for slot in await self.slots()]

    def verbs(self, verb: str) -> list[str]:
        return [call.split(" ", 1)[1] for call in self.farm.calls if call.startswith(verb)]


def session_on(tx: Tx, machine: str) -> str:
    return placed(tx, asked(tx).id, machine).id


async def lives(directory: Path) -> None:
    """The whole life of one slot that is given back, and of one that is taken away."""
    async with running_yard(directory) as yard:
        yard.wants = 1
        await yard.look()
        yard.wants = 0
        await yard.idle()
        yard.wants = 1
        await yard.look()
        (taken,) = yard.farm.slots
        (yard.farm.directory / "slots" / taken).unlink()
        yard.seen["farm-2"] = MachineSeen(MachineState.AWAY)
        await yard.keeper.compare("farm")
        await yard.keeper.compare("farm")


@asynccontextmanager
async def running_yard(directory: Path) -> AsyncIterator[Yard]:
    """One with a new store; nobody answers on its slots."""
    filled(directory / "airboss.db")
    with Store.open(f"sqlite:///{directory / 'airboss.db'}") as store:
        made = Yard(store, Farm.of(directory / "farm", new_key(directory / "host_key")), directory)
        made.configure()
        yield made
        await made.tasks.end()
        await made.executors.close()


if __name__ == "__main__":
    asyncio.run(lives(Path(sys.argv[1])))
