"""``airboss export``: the events of some days in one file that a stranger can check (``docs/verify.md``)."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from bot.days import Days, days_of
from bot.local import call_files
from bot.local.call_files import FileForm
from bot.local.options import tell
from bot.local.stores import store_of_home
from fleet import files
from fleet.clock import SystemClock
from fleet.errors import Misused
from fleet.store.core import Store
from gates.receipts import bundle, sshsig
from gates.receipts.bundle import Plan, Wanted
from gates.receipts.checkpoints import Checkpoints


def run(options: argparse.Namespace, home: Path) -> int:
    """Writes the bundle, or a file for tools of others. Raises ``Misused`` for days that are none and for a target
    that is no file, ``Unavailable`` where it cannot be written."""
    days = days_of(options.first, options.last, options.tz)
    target = new_file(Path(options.output).absolute())
    form = FileForm(options.form)
    with store_of_home(home) as store:
        if form is not FileForm.BUNDLE:
            calls = asyncio.run(call_files.write(store, days, form, target))
            data = {"v": 1, **days.to_json(), "file": str(target), "calls": calls}
            return tell(options, data, (f"{target}: {calls:,} calls. It is not signed.",))
        written = asyncio.run(write(store, home, days, target))
    events = written.size - written.first_seq + 1
    data = {"v": 1, **days.to_json(), "file": str(target), "events": events, "size": written.size}
    rows = [f"{target}: {events:,} events. Check it with: airboss verify {target}"]
    if days.period.upto_us > SystemClock().now_us():
        rows.append(f"{days.last} is not over: what happens after event {written.size:,} is not in it.")
    return tell(options, data, rows)


def new_file(target: Path) -> Path:
    """What is written takes the target's place whole: a device, a pipe or a link there would be gone."""
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise Misused(
            attempted="export",
            on=str(target),
            cause="it is there, and no ordinary file",
            hint="Name a new file, and send that one on.",
        )
    return target


async def write(store: Store, home: Path, days: Days, target: Path) -> Plan:
    """Writes the bundle of these days, signed with the key of this home."""
    key = sshsig.load_or_create(home)
    wanted = Wanted(days.first, days.last, days.zone.key, days.period)
    notes = await asyncio.to_thread(lambda: list(Checkpoints(store, home).folder.newest_first()))
    planned = await bundle.plan(store, wanted, notes)
    with files.scratch(target.parent, ".airboss-export-") as partial:
        with files.writing("write the bundle", target), files.Sink(partial) as sink:
            async for part in bundle.parts(store, planned, key):
                sink.write(part)
        with files.writing("write the bundle", target):
            files.move(partial, target)
    return planned
