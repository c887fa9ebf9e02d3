"""Sockets on other machines by which people's hooks reach this controller: one for each login of ``fleet.toml``.

Whoever opens one is the person whom ``fleet.toml`` names for that login: sshd made it for that login alone.
Only hooks are answered there; nothing else that the control socket knows.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from bot.explain import explain
from bot.local.client import LINE_LIMIT
from bot.local.hooked import HookDoor
from bot.local.wire import VERSION, malformed, read_request
from bot.outbox.posting import Outbox
from bot.registry import Context
from fleet.config import FleetConfig, HookedLoginConfig, MachineConfig
from fleet.errors import AirbossError
from fleet.flight.services import Services
from fleet.machines.executors import ssh_login
from fleet.machines.hook_streams import HookReader, HookWriter
from fleet.model import PersonId
from fleet.ports import Clock
from fleet.supervise import alongside, end, own
from gates.hooked import Caller

_log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
_AGAIN_S: Final = (2.0, 5.0, 15.0, 60.0)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A socket as ``fleet.toml`` has it."""

    machine: str
    login: str
    settings: MachineConfig = field(compare=False)
    hooked: HookedLoginConfig = field(compare=False)
    person: PersonId
    text: str  # what makes two of them differ


@dataclass(frozen=True, slots=True)
class HookForwards:
    """A component of the controller. ``troubles``: why a socket is not there, by machine and login."""

    config: Callable[[], FleetConfig]
    home: Path
    door: HookDoor
    clock: Clock
    troubles: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, services: Services, context: Context, outbox: Outbox) -> HookForwards:
        """With the parts of a running controller."""
        return cls(services.config, context.home, HookDoor.of(services, context, outbox), services.clock)

    async def run(self) -> None:
        """Until cancelled; follows the configuration. Beside it, what an earlier controller judged is closed: that
        may wait for machines."""
        async with alongside(self.door.work.close_interrupted(), "close judgements that broke off") as closing:
            await self._follow(closing)

    async def _follow(self, closing: asyncio.Task[None]) -> None:
        kept: dict[_Wanted, asyncio.Task[None]] = {}
        try:
            while True:
                wanted = set(_wanted(self.config()))
                for gone in kept.keys() - wanted:
                    await end(kept.pop(gone))
                    self.troubles.pop((gone.machine, gone.login), None)
                for task in (closing, *kept.values()):
                    if task.done():
                        task.result()  # a bug: the component dies of it, is shown, and begins again
                for new in wanted - kept.keys():
                    kept[new] = own(self._keep(new), f"hooks of {new.login} on {new.machine}")
                await self.clock.sleep(_LOOK_S)
        finally:
            await end(*kept.values())

    def trouble(self) -> str:
        """One line for ``/status``; empty when every socket is there."""
        return next((f"hooks of {login} on {at}: {why}" for (at, login), why in self.troubles.items()), "")

    async def _keep(self, wanted: _Wanted) -> None:
        """Listens there, again whenever the connection is lost."""
        from fleet.machines.ssh_hooks import forwarded

        failures, key = 0, (wanted.machine, wanted.login)
        answering = partial(self._answer, Caller(wanted.person, wanted.machine, here=False))
        while True:
            try:
                executor = ssh_login(wanted.machine, wanted.settings, wanted.login, self.home)
                async with forwarded(executor, wanted.hooked.socket, answering) as ended:
                    failures = 0
                    self.troubles.pop(key, None)
                    await ended()
            except AirbossError as error:
                self.troubles[key] = str(error)
                _log.warning("hooks of %s on %s: %s", wanted.login, wanted.machine, error)
            await self.clock.sleep(_AGAIN_S[min(failures, len(_AGAIN_S) - 1)])
            failures += 1

    async def _answer(self, caller: Caller, reader: HookReader, writer: HookWriter) -> None:
        """One request of a hook."""
        try:
            line = await reader.readline()
            answer: dict[str, Any] = {"end": 0, "data": await self._data(caller, line, reader)}
        except AirbossError as error:
            explanation = explain(error)
            answer = {"end": explanation.status, "error": explanation.text()}
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        except Exception:
            _log.exception("a hook on %s was not answered", caller.machine)
            return
        writer.write(json.dumps({"v": VERSION, **answer}).encode() + b"\n")
        await writer.drain()

    async def _data(self, caller: Caller, line: bytes, reader: HookReader) -> dict[str, Any]:
        if len(line) > LINE_LIMIT:
            raise malformed(f"the line is longer than {LINE_LIMIT} bytes", "Send less at once.")
        request = read_request(line)
        if request.get("do") != "hook":
            raise malformed("only hooks are answered here", "Use the airboss command on the controller's machine.")
        return await self.door.answer(caller, request, reader)


def _wanted(config: FleetConfig) -> list[_Wanted]:
    ids = {person.name: PersonId.parse(person.ids[0]) for person in config.people if person.ids}
    return [
        _Wanted(name, login, machine, hooked, ids[hooked.person], machine.model_dump_json())
        for name, machine in config.machines.items()
        for login, hooked in machine.hooks.items()
        if hooked.person in ids
    ]
