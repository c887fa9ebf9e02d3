"""A process whose clients take, use, renew and release locks in a store, and write down each call and its answer.

``python -m tests.contracts.lock_recorder URL OUT SEED CALLS LEASE_S KEY…``. Each call is two JSON lines: one before
it, and one with its answer; a process that is killed leaves the first alone. All clients go through the keys
together, so that they meet; some forget what they hold, as a process that died would.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from fleet.clock import SystemClock
from fleet.errors import LeaseLost, StoreUnavailable
from fleet.locks import Granted, LockCause, Resource, Want
from fleet.store.chat import settings
from fleet.store.core import Store
from fleet.store.locks import LockFence
from fleet.supervise import own
from gates.locks import book
from gates.locks.service import LockService
from tests.lock_history import Answer, Kind

CLIENTS: Final = 4
_TOGETHER: Final = 3


@dataclass
class Client:
    """One of a process's clients, with what it holds by key."""

    store: Store
    service: LockService
    log: IO[str]
    chance: random.Random
    name: str
    ttl_us: int
    held: dict[str, Granted] = field(default_factory=dict)
    calls: int = 0

    async def run(self, keys: list[str], wanted: int) -> None:
        """Until so many calls are made."""
        while self.calls < wanted:
            window = self.calls * (len(keys) + _TOGETHER - 1) // wanted + 1
            few = keys[max(window - _TOGETHER, 0) : window]
            await self._step(few[self.calls % len(few)])
            await asyncio.sleep(self.chance.choice([0, 0.001, 0.005, 0.01]))

    async def _step(self, key: str) -> None:
        self.calls += 1
        mine = self.held.get(key)
        kinds = [Kind.EFFECT, Kind.EFFECT, Kind.RENEW, Kind.RELEASE, Kind.RELEASE]
        kind = self.chance.choice(kinds) if mine else Kind.ACQUIRE
        hold = mine.hold.id if mine else f"{self.chance.getrandbits(64):016x}"
        row: dict[str, Any] = {"id": f"{self.name}/{self.calls}", "key": key, "kind": kind, "hold": hold}
        self._write(row | {"called": time.monotonic()})
        try:
            answer, token = await self._call(kind, key, hold, mine)
        except StoreUnavailable:
            answer, token = Answer.LOST, 0
        self._write(row | {"answer": answer, "returned": time.monotonic(), "token": token})
        if kind is Kind.RELEASE or answer is not Answer.YES or self.chance.random() < 0.05:
            self.held.pop(key, None)

    async def _call(self, kind: Kind, key: str, hold: str, mine: Granted | None) -> tuple[Answer, int]:
        if mine is None:
            wanted = book.Request(
                self.name, (Want(Resource(key)),), self.ttl_us, LockCause.COMMAND, "", book.digest(hold), hold=hold
            )
            given = await self.service.acquire(wanted)
            if not isinstance(given, Granted):
                return Answer.NO, 0
            self.held[key] = given
            return Answer.YES, given.locks[0].token
        try:
            if kind is Kind.EFFECT:
                await self.store.write(lambda tx: settings.put(tx, key, hold), under=[LockFence.of(mine)])
            elif kind is Kind.RENEW:
                await self.service.renew([Resource(key)], hold, self.ttl_us)
            else:
                await self.service.release([Resource(key)], hold)
        except (LeaseLost, book.NotHeld, book.NotYours):
            return Answer.NO, 0
        return Answer.YES, 0

    def _write(self, row: dict[str, Any]) -> None:
        self.log.write(json.dumps(row) + "\n")
        self.log.flush()


async def main(url: str, out: str, seed: str, calls: str, lease_s: str, *keys: str) -> None:
    """Runs the clients to their end."""
    with Store.open(url) as store, Path(out).open("w", encoding="utf-8") as log:
        service = LockService(store, SystemClock())
        clients = [
            Client(store, service, log, random.Random(f"{seed}.{at}"), f"{seed}.{at}", round(float(lease_s) * 1e6))
            for at in range(CLIENTS)
        ]
        running = [own(client.run(list(keys), int(calls)), client.name) for client in clients]
        await asyncio.gather(*running)
        await service.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
