"""The last lines of a gate that runs, put where other controllers get them: the one that a person asks may not be
the one that runs it."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from fleet import files, shared_files
from fleet.errors import StoreUnavailable, Unavailable
from fleet.store import blobs
from fleet.store.core import Store, Tx
from fleet.store.states import BlobKind

PAUSE_SECONDS: Final = 5.0
_BYTES: Final = 16 << 10

_log = logging.getLogger(__name__)


def name_of(run: str) -> str:
    """What they are called in the store."""
    return f"gates/{run}.tail"


def last_lines(log: Path) -> str:
    """The whole lines among the last bytes of a log; empty when it is not there yet."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _BYTES))
            data = file.read(_BYTES)
    except OSError:
        return ""
    whole = data if size <= _BYTES else data.partition(b"\n")[2]
    return whole.decode("utf-8", "replace")


async def follow(store: Store, log: Path, run: str, task: str, pause: float = PAUSE_SECONDS) -> None:
    """Until cancelled, where there may be other controllers. Nothing depends on it."""
    said = ""
    while store.can_be_shared:
        await asyncio.sleep(pause)
        text = await asyncio.to_thread(last_lines, log)
        if text and text != said:
            try:
                await share(store, log, run, task, text)
            except (StoreUnavailable, Unavailable) as error:
                _log.info("the last lines of gate run %s are not told: %s", run, error)
            else:
                said = text


async def share(store: Store, log: Path, run: str, task: str, text: str) -> None:
    """Puts the lines into the store, redacted. Raises ``Unavailable`` when they cannot be written."""
    tail = log.with_suffix(".tail")
    with files.writing("tell the last lines of a gate", tail):
        clean = store.redact(text) if store.redact else text
        await asyncio.to_thread(files.replace, tail, clean.encode("utf-8", "replace"))
        await shared_files.put(store, tail, BlobKind.GATE_OUTPUT, name=name_of(run), owner=task)
        await asyncio.to_thread(tail.unlink, missing_ok=True)


async def forget(store: Store, run: str) -> None:
    """The run is over: its whole output is where its last lines were."""

    def work(tx: Tx) -> None:
        if (found := blobs.named(tx, name_of(run))) is not None:
            blobs.forget(tx, [found])

    if store.can_be_shared:
        await store.write(work)


async def of_run(store: Store, log: Path, run: str) -> str:
    """The last lines of a run: as whoever runs it told, else from the log here."""
    if store.can_be_shared and await store.read(lambda tx: blobs.named(tx, name_of(run))) is not None:
        return await brought(store, log, run)
    return await asyncio.to_thread(last_lines, log)


async def brought(store: Store, log: Path, run: str) -> str:
    """The last lines as they were put; empty where they are over or damaged."""
    target = log.with_suffix(".told")
    try:
        await shared_files.bring(store, name_of(run), target)
        return await asyncio.to_thread(last_lines, target)
    except Unavailable as error:
        _log.warning("the last lines of gate run %s cannot be shown: %s", run, error)
        return ""
    finally:
        await asyncio.to_thread(target.unlink, missing_ok=True)
