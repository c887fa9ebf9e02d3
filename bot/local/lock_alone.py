"""A lock command on a home that no controller serves: it leads the fleet for the moment that it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

from bot.base import leading
from bot.explain import explain
from bot.home_lock import HomeInUse
from bot.local import locking
from fleet.clock import SystemClock
from fleet.config import load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import AirbossError, Unavailable
from gates.locks.service import LockService


def _repos(home: Path) -> Collection[str] | None:
    """The repositories of a home, where its ``fleet.toml`` says so."""
    try:
        return load_fleet(home / FLEET_FILE).repos
    except AirbossError:
        return None


async def ask_alone(home: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The answer that a controller would give. Raises ``Unavailable`` where this login is not the controller's, and
    ``HomeInUse`` while another process leads."""
    if not await asyncio.to_thread(home.is_dir):
        raise Unavailable(
            attempted="handle a lock", on=str(home), cause="no controller is running here", hint="airboss serve"
        )
    try:
        async with leading(home) as store:
            service = LockService(store, SystemClock())
            try:
                reply = await locking.answer(service, store, request, repos=await asyncio.to_thread(_repos, home))
            finally:
                await service.close()
    except PermissionError as error:
        raise Unavailable(
            attempted="handle a lock",
            on=str(home),
            cause=f"no controller is running, and this login may not open its home ({error.strerror})",
            hint="Start the controller: airboss serve",
        ) from error
    except HomeInUse:
        raise
    except AirbossError as error:
        told = explain(error)
        return {"end": told.status, "text": told.text() + "\n"}
    return {"end": reply.status, "data": reply.data, "text": reply.text}
