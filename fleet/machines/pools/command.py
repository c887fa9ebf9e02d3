"""A provider of slots that is any three commands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Final

from fleet.config import PoolConfig, Secrets, SlotTarget
from fleet.config.slots import target_of
from fleet.config.values import duration_us
from fleet.errors import Unavailable
from fleet.machines.pools.running import failed, output
from fleet.untrusted import clean

_SHOWN: Final = 200
_RELEASE_S: Final = 900.0
_INVENTORY_S: Final = 60.0
_OWN_ENV: Final = ("PATH", "HOME", "USER", "LANG", "SSH_AUTH_SOCK")


class CommandProvider:
    """Runs the pool's commands as the controller's login. Each gets ``AIRBOSS_POOL``, those for one slot also
    ``AIRBOSS_SLOT``, and the variables of ``.env`` that the pool names; nothing else of the controller's."""

    def __init__(self, pool: str, config: PoolConfig, secrets: Secrets) -> None:
        self._pool, self._config, self._secrets = pool, config, secrets

    async def acquire(self, name: str) -> SlotTarget:
        """Runs ``acquire``; its output is one JSON object."""
        seconds = duration_us(self._config.acquire_within) / 1_000_000
        said = await self._run("acquire", self._config.acquire or (), seconds, name)
        target = target_of(said)
        if isinstance(target, str):
            raise self._failed("acquire", f"printed no slot: {clean(target, _SHOWN)}")
        return target

    async def release(self, name: str, target: str) -> None:
        """Runs ``release``, with what ``acquire`` printed as its input."""
        await self._run("release", self._config.release or (), _RELEASE_S, name, target)

    async def names(self) -> frozenset[str] | None:
        """Runs ``inventory``; its output is a JSON list of names."""
        if self._config.inventory is None:
            return None
        said = await self._run("inventory", self._config.inventory, _INVENTORY_S)
        try:
            names = json.loads(said)
        except (ValueError, RecursionError) as error:
            raise self._failed("inventory", "printed no JSON") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._failed("inventory", "printed no list of names")
        return frozenset(names)

    async def _run(self, what: str, argv: Sequence[str], seconds: float, slot: str = "", said: str = "") -> bytes:
        return await output(f"pool {self._pool}", what, argv, seconds, env=self._env(slot), said=said.encode())

    def _env(self, slot: str) -> Mapping[str, str]:
        env = {name: value for name in _OWN_ENV if (value := os.environ.get(name))}
        env |= {
            name: self._secrets.require(name, f"run the commands of pool {self._pool}") for name in self._config.env
        }
        return {**env, "AIRBOSS_POOL": self._pool, **({"AIRBOSS_SLOT": slot} if slot else {})}

    def _failed(self, what: str, why: str) -> Unavailable:
        return failed(f"pool {self._pool}", what, why)
