"""Commands on a home that no controller serves: they lead the fleet for the moment that they take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.base import leading
from bot.explain import explain
from bot.home_lock import HomeInUse
from bot.local import import_intake, locking
from bot.local.owner import caller
from fleet.clock import SystemClock
from fleet.config import load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import AirbossError, Unavailable
from fleet.store.core import Store
from gates.locks.service import LockService


async def import_alone(home: Path, requests: list[dict[str, Any]]) -> list[dict[str, int]]:
    """The answers that a controller would give. Raises ``Unavailable`` where this login is not the controller's."""
    actor = str(caller())
    try:
        async with _leading(home, "import sessions") as store:
            return [await import_intake.answer(store, request, actor) for request in requests]
    except HomeInUse as error:
        raise Unavailable(
            attempted="import sessions",
            on=str(home),
            cause="another command has this home, or a controller that starts",
            hint="Run it again when that is done: nothing is counted twice.",
        ) from error


async def lock_alone(home: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The answer that a controller would give. Raises ``Unavailable`` where this login is not the controller's, and
    ``HomeInUse`` while another process leads."""
    attempted = "handle a lock"
    if not await asyncio.to_thread(home.is_dir):
        raise Unavailable(
            attempted=attempted, on=str(home), cause="no controller is running here", hint="airboss serve"
        )
    async with _leading(home, attempted) as store:
        service = LockService(store, SystemClock())
        try:
            reply = await locking.answer(service, store, request, repos=await asyncio.to_thread(_repos, home))
        except AirbossError as error:
            told = explain(error)
            return {"end": told.status, "text": told.text() + "\n"}
        finally:
            await service.close()
    return {"end": reply.status, "data": reply.data, "text": reply.text}


@asynccontextmanager
async def _leading(home: Path, attempted: str) -> AsyncIterator[Store]:
    try:
        async with leading(home) as store:
            yield store
    except PermissionError as error:
        raise Unavailable(
            attempted=attempted,
            on=str(home),
            cause=f"no controller is running, and this login may not open its home ({error.strerror})",
            hint="Start the controller: airboss serve",
        ) from error


def _repos(home: Path) -> Collection[str] | None:
    """The repositories of a home, where its ``fleet.toml`` says so."""
    try:
        return load_fleet(home / FLEET_FILE).repos
    except AirbossError:
        return None
