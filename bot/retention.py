"""Deletes what is kept for a time only: old chat messages and their files, output of gates, locks that are over.

``fleet/store/chat/retention.py`` deletes the rows; this module deletes the files, each in a write transaction that
checks that nothing needs it. Whatever needs a file later commits that first, so it never loses the file midway.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from bot.cards import Card
from bot.hearing import held_files
from bot.message import Message
from fleet.config import FleetConfig
from fleet.errors import AirbossError, Malformed
from fleet.ports import Clock
from fleet.store import blob_retention, contents, locks, trees
from fleet.store import gates as gate_runs
from fleet.store.blobs import NamedBlob
from fleet.store.chat import inbox, retention
from fleet.store.core import Store, Tx
from fleet.store.states import BlobKind

log = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 86_400.0
_DAY_US: Final = 86_400_000_000
_BATCH: Final = 50
"""Files that one transaction removes. A chat's transaction waits no longer than that."""

_OWNER = re.compile(r"[at]\d+(?=[-.])")
"""The start of the name of our own documents: the task or the question that it is about."""


class Retention:
    """``home``: its ``files`` are what people sent and the documents we wrote for cards, its ``gates`` what gates
    wrote."""

    def __init__(self, store: Store, config: Callable[[], FleetConfig], clock: Clock, home: Path) -> None:
        self._store, self._config, self._clock = store, config, clock
        self._files, self._gates = home / "files", home / "gates"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.prune()
            except AirbossError:
                log.exception("old messages and files could not be removed; trying again tomorrow")
            await self._clock.sleep(_EVERY_SECONDS)

    async def prune(self) -> None:
        """Removes what is too old. Safe to interrupt and to repeat."""
        age_us = self._config().limits.chat_retention_days * _DAY_US
        await retention.prune_rows(self._store, age_us)
        await retention.prune_inputs(self._store, self._config().limits.spool_retention_days * _DAY_US)
        said_us = self._config().limits.spool_retention_days * _DAY_US
        while await self._store.write(lambda tx: contents.forget_old(tx, said_us)):
            pass
        while await self._store.write(lambda tx: locks.forget_ended(tx, said_us)):
            pass
        await blob_retention.prune(self._store, BlobKind.CHAT_FILE, age_us, partial(_sent, age_us))
        before_us = self._clock.now_us() - age_us
        for found in (_old_files, _empty_directories):
            every = iter(await asyncio.to_thread(list, found(self._files, before_us)))
            while batch := list(itertools.islice(every, _BATCH)):
                await self._store.write(partial(self._remove, batch, age_us, before_us))
        await blob_retention.prune_work(self._store, self._config().limits.gate_log_days * _DAY_US)
        await self._prune_gates(self._clock.now_us() - self._config().limits.gate_log_days * _DAY_US)

    async def _prune_gates(self, before_us: int) -> None:
        """Removes old output of gates; that of open tasks and of work that did not land stays."""
        logs = await asyncio.to_thread(lambda: [*_old(self._gates.glob("*.log"), before_us)])
        runs = iter(logs)
        while batch := list(itertools.islice(runs, _BATCH)):
            over = await self._store.read(partial(_of_nobody, batch))
            await asyncio.to_thread(_unlink, over)
        stale = await asyncio.to_thread(lambda: [*_old((self._gates / "baselines").rglob("*"), before_us)])
        await asyncio.to_thread(_unlink, stale)

    def _remove(self, batch: list[Path], age_us: int, before_us: int, tx: Tx) -> None:
        fetching, needed = _needed(tx, age_us)
        kept = {os.path.realpath(path) for path in needed}
        owners = {path: found[0] for path in batch if (found := _OWNER.match(path.name))}
        live = retention.live_among(tx, set(owners.values()))
        for path in batch:
            chat = path.relative_to(self._files).parts[0]
            if os.path.realpath(path) in kept or chat in fetching or owners.get(path) in live:
                continue
            try:
                if path.is_dir():
                    path.rmdir()
                elif _is_old(path, before_us):
                    path.unlink()
            except OSError as error:
                log.warning("%s has expired but cannot be removed: %s", path, error.strerror)


def _needed(tx: Tx, age_us: int) -> tuple[set[str], set[str]]:
    """The adapters that may be downloading files now for waiting messages, and the paths of files that somebody may
    still ask for."""
    fetching, sent = _arriving(inbox.pending(tx))
    on_their_way = set(_files_of(retention.on_their_way(tx)))
    return fetching, retention.attached(tx, age_us) | on_their_way | held_files.paths(tx) | sent


def _sent(age_us: int, tx: Tx, found: Collection[NamedBlob]) -> set[str]:
    """The names of those shared files that somebody may still ask for: their paths."""
    return _needed(tx, age_us)[1]


def _files_of(cards: Iterable[str]) -> Iterator[str]:
    """The files that are attached to these cards."""
    for text in cards:
        try:
            card = Card.from_json(text)
        except Malformed:
            continue
        yield from filter(None, (card.picture, card.document))


def _arriving(pending: Iterable[inbox.Received]) -> tuple[set[str], set[str]]:
    """The adapters that may be downloading files now for waiting messages, and the files that are already here."""
    fetching: set[str] = set()
    sent: set[str] = set()
    for row in pending:
        try:
            message = Message.from_bytes(row.payload)
        except Malformed:
            continue
        for file in message.files:
            if file.source:
                fetching.add(row.adapter)
            else:
                sent.add(file.path)
    return fetching, sent


def _of_nobody(logs: list[Path], tx: Tx) -> list[Path]:
    """Those of the logs whose task is over and has no work that did not land."""
    owners = gate_runs.tasks_of(tx, [log.name.removesuffix(".log") for log in logs])
    over = trees.without_work(tx, set(owners.values()))
    return [log for log in logs if (task := owners.get(log.name.removesuffix(".log"))) is None or task in over]


def _old(paths: Iterable[Path], before_us: int) -> Iterator[Path]:
    return (path for path in paths if _is_old(path, before_us))


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s has expired but cannot be removed: %s", path, error.strerror)


def _old_files(files: Path, before_us: int) -> Iterator[Path]:
    for directory, _, names in os.walk(files):
        for name in names:
            if _is_old(path := Path(directory, name), before_us):
                yield path


def _empty_directories(files: Path, _before_us: int) -> Iterator[Path]:
    """Empty directories of a message's files; the directories of the adapters stay."""
    for directory, inside, names in os.walk(files):
        path = Path(directory)
        if not inside and not names and len(path.relative_to(files).parts) > 1:
            yield path


def _is_old(path: Path, before_us: int) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return not stat.S_ISDIR(found.st_mode) and found.st_mtime_ns // 1_000 <= before_us
