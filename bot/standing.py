"""Whether this controller may act: not while its store is older than what machines, branches or receipts know.

Then the store was restored from a backup. ``/status`` works, and nothing starts or lands until a person gives
``airboss ledger reset --reason '…'``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from fleet.config import FleetConfig, WitnessConfig
from fleet.errors import Malformed, Misused, Refused, Unavailable
from fleet.events import Source
from fleet.flight import traces as seeing
from fleet.git.repository import Repository
from fleet.machines.executors import Executors
from fleet.ports import Executor
from fleet.store import ledger, traces
from fleet.store.core import Store, Tx
from fleet.store.traces import Trace
from fleet.supervise import Work, alongside, first, side_by_side
from gates.people import Right
from gates.receipts import keys, reset, sshsig
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.checkpoints import Checkpoints
from gates.receipts.note import NoteKey, log_key
from gates.witness.asking import latest

_log = logging.getLogger(__name__)

COMMAND: Final = "airboss ledger reset --reason '…'"
_AT_START_S: Final = 30.0
_AGAIN_S: Final = 30.0

Look = Callable[[], Awaitable[Sequence[Trace]]]


class Standing:
    """What was seen that the store does not know. Each machine, branch and the receipts are looked at once."""

    def __init__(
        self,
        store: Store,
        config: Callable[[], FleetConfig],
        executors: Executors,
        repositories: Callable[[str], Repository],
        home: Path,
    ) -> None:
        self._store, self._config, self._executors = store, config, executors
        self._repositories, self._home = repositories, home
        self._looked: set[str] = set()
        self._lost: dict[str, Trace] = {}
        self._changed, self._ready = asyncio.Event(), asyncio.Event()

    @property
    def behind(self) -> str:
        """One line that says what the store lacks and how to go on; empty when it lacks nothing."""
        if not self._lost:
            return ""
        shown = next(iter(self._lost.values())).line
        more = f" and {len(self._lost) - 1} more" if len(self._lost) > 1 else ""
        return (
            f"the store is older than what is outside it, so nothing starts or lands. To go on: {COMMAND} "
            f"(it lacks {shown}{more}: it was restored)"
        )

    @property
    def good(self) -> bool:
        """Whether the first look is over, and the store lacked nothing."""
        return self._ready.is_set() and not self._lost

    async def demand(self, right: Right, attempted: str) -> None:
        """Raises ``Refused`` for whatever changes something while the store lacks something."""
        if right is not Right.SEE:
            await self._ready.wait()
            if self._lost:
                raise Refused(attempted=attempted, cause=self.behind)

    async def run(self) -> None:
        """Until cancelled: looks at everything once, then at what did not answer. Until the first look is over,
        whatever changes something waits."""
        if await self._store.read(ledger.size) == 0:
            self._looked.update(name for name, _ in self._places())  # a new store: nobody knows its names
        with contextlib.suppress(TimeoutError):  # who does not answer now is looked at later
            async with asyncio.timeout(_AT_START_S):
                await self._look()
        self._ready.set()
        while True:
            await asyncio.sleep(_AGAIN_S)
            await self._look()

    async def while_good(self, work: Work) -> None:
        """Runs ``work`` for as long as the store lacks nothing."""
        await self._ready.wait()
        while True:
            while self._lost:
                self._changed.clear()
                await self._changed.wait()
            async with alongside(work(), "work of a store that lacks nothing") as running:
                await first(running, self._turned_bad())
                if running.done():
                    return await running

    async def reset(self, person: str, reason: str) -> int:
        """Lets the store go on; answers how many lost things the signed entry holds."""
        lost = list(self._lost.values())
        if not lost:
            raise Misused(
                attempted="reset the ledger", cause="the store lacks nothing that was seen", hint="Nothing to do."
            )
        key = await asyncio.to_thread(sshsig.load_or_create, self._home)

        def work(tx: Tx) -> None:
            event = reset.entry(tx, key, person, reason, lost)
            ledger.append(tx, event, actor=person, source=Source.PERSON)
            traces.acknowledge(tx, lost)

        await self._store.write(work)
        for trace in lost:
            self._lost.pop(trace.line, None)
        self._changed.set()
        return len(lost)

    async def _turned_bad(self) -> None:
        while not self._lost:
            self._changed.clear()
            await self._changed.wait()

    async def _look(self) -> None:
        todo = [(name, look) for name, look in self._places() if name not in self._looked]
        await side_by_side([self._look_at(name, look) for name, look in todo], "look for traces")

    async def _look_at(self, name: str, look: Look) -> None:
        try:
            seen = await look()
        except (Misused, Refused, Unavailable) as error:
            _log.info("could not look for traces %s: %s", name, error)
            return
        lost = await self._store.read(lambda tx: traces.unknown(tx, seen))
        self._looked.add(name)
        if lost:
            self._lost |= {trace.line: trace for trace in lost}
            self._changed.set()

    def _places(self) -> Iterator[tuple[str, Look]]:
        config = self._config()
        agent, gate = self._executors.agent, self._executors.gate
        for name, machine in config.machines.items():
            for login in machine.agent_logins:
                where = f"on {name} ({login})" if machine.has_agent_pool else f"on {name}"
                yield where, partial(self._on_machine, partial(agent, login=login), name)
            if machine.runs_gates(config.isolation):
                for login in machine.gates_alone:
                    yield f"on {name} ({login})", partial(self._on_machine, partial(gate, login=login), name)
        for name in config.repos:
            yield f"in {name}", partial(self._on_base, name)
        yield "in the receipts", self._receipts
        yield "in the checkpoints", self._checkpoints
        for name, witness in config.witnesses.items():
            yield f"at witness {name}", partial(self._at_witness, name, witness)

    async def _on_machine(self, login: Callable[[str], Executor], name: str) -> list[Trace]:
        return await seeing.on_machine(login(name), self._store.instance)

    async def _on_base(self, name: str) -> list[Trace]:
        return await seeing.on_base(self._repositories(name), self._store.instance)

    async def _checkpoints(self) -> list[Trace]:
        """The largest checkpoint of this store that is kept here."""
        every = Checkpoints(self._store, self._home).folder.newest_first()
        mine = (point for point, _ in every if point.instance == self._store.instance)
        found = await asyncio.to_thread(lambda: next(mine, None))
        return [_checkpoint(found, "kept here")] if found else []

    async def _at_witness(self, name: str, witness: WitnessConfig) -> list[Trace]:
        """What a witness signed last, if its signature and ours are on it."""
        try:
            signed = await latest(witness.url, f"airboss/{self._store.instance}")
            if signed is None:
                return []
            point = Checkpoint.parse(signed.text)
        except Malformed as error:  # nothing that anybody signed
            _log.warning("witness %s answered nonsense: %s", name, error)
            return []
        ours = await asyncio.to_thread(keys.every, self._home)
        by_us = any(signed.signed_by(log_key(point.origin, key.raw)) is not None for key in ours)
        by_it = signed.signed_by(NoteKey.parse(witness.key)) is not None
        return [_checkpoint(point, f"signed by witness {name}")] if by_us and by_it else []

    async def _receipts(self) -> list[Trace]:
        paths = await asyncio.to_thread(lambda: sorted((self._home / "receipts").glob("t*.json")))
        return [Trace(path.stem, "its receipt", receipt=True) for path in paths]


def _checkpoint(point: Checkpoint, where: str) -> Trace:
    name = f"the checkpoint of {point.size:,} events, root {point.root.hex()[:8]}…"
    return Trace(name, where, size=point.size, root=point.root)
