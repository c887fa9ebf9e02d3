"""The process of a setup: its steps one after the other, behind walls where the machine can build them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from fleet.errors import Unavailable, Unreachable
from fleet.exits import Lost
from fleet.isolation import INSIDE, Walls
from fleet.ports import Ended, Executor, Output, PipeSpec
from fleet.setup.definitions import SetupDefinition
from fleet.setup.site import SetupSite

_OUTPUT_LIMIT: Final = 512 << 10
_PATIENCE_SECONDS: Final = 600.0
_STOP_SECONDS: Final = 15.0


def process_of(site: SetupSite, setup: SetupDefinition, place: str, pipe: str) -> PipeSpec:
    """The process in the checkout at ``place``, which it sees where gates see theirs."""
    walled = site.facts.walled
    seen_as = INSIDE if walled else place
    return PipeSpec(
        id=pipe,
        nonce=secrets.token_hex(16),
        argv=("/bin/sh", "-c", script_of(setup)),
        cwd=f"{seen_as}/tree",
        env={
            **({"PATH": site.path} if site.path else {}),
            "HOME": f"{seen_as}/home",
            "TMPDIR": "/tmp" if walled else f"{place}/scratch",  # noqa: S108 - the run's own, inside its walls
            "LANG": "C.UTF-8",
            **_own_env(setup),
        },
        bare_env=bool(site.path),
        merge=True,
        contain=True,
        walls=Walls(place, site.read, setup.network) if walled else None,
        limits=replace(site.limits, directories=(place,)),
        timeout_us=setup.timeout_us,
    )


def in_workspace(site: SetupSite, setup: SetupDefinition, workspace: str, pipe: str) -> PipeSpec:
    """The process where an agent works, as its login."""
    return PipeSpec(
        id=pipe,
        nonce=secrets.token_hex(16),
        argv=("/bin/sh", "-c", script_of(setup)),
        cwd=workspace,
        env=_own_env(setup),
        merge=True,
        contain=True,
        limits=replace(site.limits, directories=(workspace,)),
        timeout_us=setup.timeout_us,
    )


def _own_env(setup: SetupDefinition) -> dict[str, str]:
    return {"UV_COMPILE_BYTECODE": "1", "AIRBOSS_SETUP": setup.name, **dict(setup.env)}


def script_of(setup: SetupDefinition) -> str:
    """Shell text that shows and runs each step, and ends with the first that fails."""
    steps = [shlex.join(step) for step in setup.steps]
    return "\n".join(["set -e", *(f"printf '+ %s\\n' {shlex.quote(step)}\n{step}" for step in steps)])


async def end_of(executor: Executor, spec: PipeSpec, given_up: Callable[[], bool]) -> tuple[Ended, bytes]:
    """Starts a process and reads it to its end, and the end of its output. It ends when nobody waits for it."""
    output, at = bytearray(), 0
    try:
        async with asyncio.timeout((spec.timeout_us + spec.grace_us) / 1_000_000 + _PATIENCE_SECONDS):
            while True:
                try:
                    await executor.start(spec)  # safe to repeat
                    async for event in executor.attach(spec.id, spec.nonce, at):
                        if isinstance(event, Ended):
                            return event, bytes(output)
                        if isinstance(event, Output):
                            output += event.data
                            at += len(event.data)
                            del output[:-_OUTPUT_LIMIT]
                        if given_up():
                            await executor.stop(spec.id, 1.0)
                except Unreachable:
                    if given_up():
                        raise
                    await asyncio.sleep(1.0)
    except TimeoutError:
        why = f"{executor.machine} reported no end within {_PATIENCE_SECONDS:.0f} s after the setup's timeout"
        return Ended(Lost(why), None, 0, 0, contained=False, gone=False), bytes(output)
    except asyncio.CancelledError:
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await executor.stop(spec.id, 1.0)
        raise
