"""``airboss import``: agents' own session files into the ledger, through the running controller, else directly.

The files are read here, by the login that gives the command, and only figures leave this process. They go in
batches, each one transaction: an import that is interrupted goes on when it is run again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import stat
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, TypeVar

from bot.local import client
from bot.local.options import print_json
from fleet.agents.file_readers import PLACES, READERS
from fleet.agents.lines import NOT_UNDERSTOOD
from fleet.errors import Misused, Unavailable
from fleet.events import SessionImported
from fleet.imports import Fact, ImportedAgent, SessionFile, plain
from fleet.store.imports import ImportCounts

LINE_LIMIT: Final = 16 << 20
"""A longer line is skipped, and counted."""

REQUEST: Final = 1_000
"""Facts in one request and one transaction."""

_AT_ONCE: Final = 5
T = TypeVar("T")
_PATTERNS: Final = {ImportedAgent.CLAUDE: "", ImportedAgent.CODEX: "rollout-"}


@dataclass(slots=True)
class Tally:
    """What was read. ``half``: last lines of files that are still being written."""

    files: int = 0
    sessions: int = 0
    lines: int = 0
    malformed: int = 0
    half: int = 0
    huge: int = 0
    unreadable: int = 0
    whole: dict[str, bool] = field(default_factory=dict)
    """The conversations whose own file was read, and whether all their files were read without a bad line."""


def run(options: argparse.Namespace, home: Path) -> int:
    """Imports a directory. Returns 3 when a file cannot be read; raises ``Misused`` for a directory that is not."""
    agent = ImportedAgent(options.agent)
    machine = plain(options.machine or socket.gethostname())
    tally, added = Tally(), ImportCounts()
    try:
        for group in _in_parts(_facts(agent, Path(options.directory), tally), REQUEST * _AT_ONCE):
            added += _deliver(home, agent, machine, group)
        _whole(home, agent, tally)
        _close(home, agent, tally, added)
    except _Refused as refused:
        return refused.status
    counts = {name: count for name, count in asdict(tally).items() if name != "whole"}
    said = {"v": 1, "agent": str(agent), **counts, **asdict(added)}
    if options.json:
        print_json(said)
    else:
        sys.stdout.write(_words(agent, tally, added))
    return Unavailable.status if tally.unreadable else 0


def _words(agent: ImportedAgent, tally: Tally, added: ImportCounts) -> str:
    if not tally.files and not tally.unreadable:
        return f"There is no session file of {agent} here: {_PATTERNS[agent]}*.jsonl. Nothing was imported.\n"
    if not tally.sessions and not tally.unreadable:
        return f"No session of {agent} is in these {tally.files:,} files. Nothing was imported.\n"
    bad = [(tally.malformed, "malformed"), (tally.half, "unfinished"), (tally.huge, "too long")]
    skipped = ", ".join(f"{count:,} {name}" for count, name in bad if count)
    lines = [
        f"Imported {added.added:,} events ({added.known:,} were known) "
        f"from {tally.files:,} files with {tally.sessions:,} sessions.",
        f"Skipped lines: {skipped}." if skipped else "",
        f"{tally.unreadable:,} files could not be read." if tally.unreadable else "",
    ]
    return "".join(f"{line}\n" for line in lines if line)


# --- reading ----------------------------------------------------------------------------------------------


def _facts(agent: ImportedAgent, directory: Path, tally: Tally) -> Iterator[Fact]:
    sessions = set[str]()
    for path in _files(agent, directory, tally):
        tally.files += 1
        reader = READERS[agent](path.stem)
        bad, found = _bad(tally), set[str]()
        try:
            for fact in chain.from_iterable(_read(path, reader, tally)):
                if isinstance(fact.event, SessionImported):
                    if fact.conversation in sessions:  # a subagent's file, or another part of the session
                        continue
                    sessions.add(fact.conversation)
                    tally.sessions += 1
                found.add(fact.conversation)
                yield fact
            for name in found:
                if name in path.stem or name in tally.whole:
                    tally.whole[name] = tally.whole.get(name, True) and _bad(tally) == bad
        except OSError as error:
            tally.unreadable += 1
            sys.stderr.write(f"{path}: {error.strerror or error}\n")


def _bad(tally: Tally) -> int:
    return tally.malformed + tally.half + tally.huge


def _files(agent: ImportedAgent, directory: Path, tally: Tally) -> Iterator[Path]:
    """The session files under a directory, which may be the agent's own one, in a fixed order."""
    if not directory.is_dir():
        raise Misused(
            attempted=f"import sessions of {agent}",
            on=str(directory),
            cause="it is no directory",
            hint="Name the agent's directory: ~/.claude/projects or ~/.codex/sessions.",
        )
    tops = [directory / name for name in PLACES[agent] if (directory / name).is_dir()] or [directory]
    for folder, names in chain.from_iterable(_folders(top, tally) for top in tops):
        for name in names:
            if name.endswith(".jsonl") and name.startswith(_PATTERNS[agent]):
                yield folder / name


def _folders(top: Path, tally: Tally) -> Iterator[tuple[Path, list[str]]]:
    """Every folder under one, also behind a link, with its names. A link to where it is itself is not followed."""

    def fresh(folder: Path) -> bool:
        try:
            known = folder.stat()
        except OSError as error:
            unreadable(error)
            return False
        key = (known.st_dev, known.st_ino)
        if key in seen or (folder.is_symlink() and above.is_relative_to(folder.resolve())):
            return False
        seen.add(key)
        return True

    def unreadable(error: OSError) -> None:
        tally.unreadable += 1
        sys.stderr.write(f"{error.filename}: {error.strerror or error}\n")

    seen, above = set[tuple[int, int]](), top.resolve()
    for folder, folders, names in os.walk(top, onerror=unreadable, followlinks=True):
        folders[:] = [name for name in sorted(folders) if fresh(Path(folder, name))]
        yield Path(folder), sorted(names)


def _read(path: Path, reader: SessionFile, tally: Tally) -> Iterator[list[Fact]]:
    """What each line of a file reports. A pipe or a device is not read: it may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is no regular file")
    with path.open("rb") as file:
        while line := file.readline(LINE_LIMIT + 1):
            tally.lines += 1
            whole = line.endswith(b"\n")
            if len(line) > LINE_LIMIT and not whole:
                tally.huge += 1
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE_LIMIT)
                continue
            if not line.strip():
                continue
            try:
                yield reader.feed(line.removeprefix(BOM_UTF8))
            except NOT_UNDERSTOOD:
                if whole:
                    tally.malformed += 1
                else:
                    tally.half += 1
    yield reader.close()


# --- writing ----------------------------------------------------------------------------------------------


def _deliver(home: Path, agent: ImportedAgent, machine: str, facts: list[Fact]) -> ImportCounts:
    """Appends the facts; asks anew each time whether a controller runs, so that one may start in between."""
    requests = [
        {"agent": str(agent), "machine": machine, "facts": [fact.to_json() for fact in part]}
        for part in _in_parts(facts, REQUEST)
    ]
    return sum((ImportCounts(**answer) for answer in _asked(home, requests)), ImportCounts())


def _whole(home: Path, agent: ImportedAgent, tally: Tally) -> None:
    """Names what was read to its end: calls that such a file does not have are missing there."""
    whole = sorted(name for name, fine in tally.whole.items() if fine)
    if whole and not tally.unreadable:
        list(_asked(home, [{"agent": str(agent), "whole": part} for part in _in_parts(whole, REQUEST)]))


def _close(home: Path, agent: ImportedAgent, tally: Tally, added: ImportCounts) -> None:
    """Records the import, if it added anything."""
    if not added.added:
        return
    done = {name: getattr(tally, name) for name in ("files", "malformed", "half", "huge")}
    list(_asked(home, [{"agent": str(agent), "done": {**done, **asdict(added)}}]))


def _asked(home: Path, requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The answers to these requests."""
    left = iter(requests)
    for request in left:
        try:
            last = client.ask(str(home), "import", quiet=True, **request)
        except client.NotServed:
            from bot.local.alone import import_alone

            yield from asyncio.run(import_alone(home, list(chain((request,), left))))
            return
        if last["end"]:
            raise _Refused(int(last["end"]))
        yield last["data"]


def _in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


class _Refused(Exception):
    """The controller refused, and said why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status
