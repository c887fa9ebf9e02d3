"""Programs beside the controller: nothing of them is left, whenever and however they are ended."""

from __future__ import annotations

import asyncio
import os
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from fleet import processes
from fleet.supervise import own

DEAF = "trap '' TERM; sh -c 'while :; do sleep 60; done' & echo ready; while :; do wait; done"
"""A program whose child, too, hears no TERM. Both have its output: it ends once none of them is left."""


@pytest.mark.parametrize("grace", [0.0, 0.05])
async def test_what_hears_no_term_is_killed_with_its_children(grace: float) -> None:
    deaf = await processes.start("sh", "-c", DEAF, stdout=PIPE)
    assert deaf.stdout is not None and await deaf.stdout.readline() == b"ready\n"
    await processes.end(deaf, grace)
    assert await deaf.stdout.read() == b""


async def test_what_was_cancelled_and_could_not_start_is_cancelled() -> None:
    """Not an error that nobody waits for."""
    starting = own(processes.start("/nowhere/at/all"), "start")
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


@pytest.mark.parametrize("turns", range(1, 6))
async def test_a_second_cancel_while_it_starts_leaves_none_of_its_children(tmp_path: Path, turns: int) -> None:
    """The first one already ends it. The second falls into each turn of the loop until asyncio hands it out."""
    end, its_output = os.pipe()
    ready = tmp_path / "ready"

    async def begun() -> None:
        script = f"sleep 600 & touch {ready}; wait"
        await processes.end(await processes.start("sh", "-c", script, stdout=its_output))

    starting = own(begun(), "start")
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(50):
        if ready.exists():
            break
        time.sleep(0.01)
    for _ in range(2):
        starting.cancel()
        await asyncio.sleep(0)
    await asyncio.wait((starting,))
    os.close(its_output)
    assert os.read(end, 1) == b""
    os.close(end)
