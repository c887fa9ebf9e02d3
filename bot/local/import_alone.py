"""An import into a home that no controller serves: it leads the fleet for the moment that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bot.base import leading
from bot.home_lock import HomeInUse
from bot.local import import_intake
from bot.local.owner import caller
from fleet.errors import Unavailable


async def add_alone(home: Path, requests: list[dict[str, Any]]) -> list[dict[str, int]]:
    """The answers that a controller would give. Raises ``Unavailable`` where this login is not the controller's."""
    actor = str(caller())
    try:
        async with leading(home) as store:
            return [await import_intake.answer(store, request, actor) for request in requests]
    except HomeInUse as error:
        raise Unavailable(
            attempted="import sessions",
            on=str(home),
            cause="another command has this home, or a controller that starts",
            hint="Run it again when that is done: nothing is counted twice.",
        ) from error
    except PermissionError as error:
        raise Unavailable(
            attempted="import sessions",
            on=str(home),
            cause=f"no controller is running, and this login may not open its home ({error.strerror})",
            hint="Start the controller: airboss serve",
        ) from error
