"""``airboss keys``: the key that signs receipts, exports and checkpoints, and those before it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from bot.local.options import print_json, tell
from bot.local.stores import store_of_home
from fleet.errors import Misused, StoreUnavailable
from gates import fleet_keys
from gates.receipts import keys, sshsig
from gates.receipts.note import log_key


def make(options: argparse.Namespace, home: Path) -> int:
    """Makes the key, where there is none."""
    fresh = not (home / "keys" / sshsig.KEY_FILE).exists()
    public = sshsig.public_of(sshsig.load_or_create(home))
    data = {"v": 1, "made": fresh, "key": public.line, "fingerprint": public.fingerprint}
    return tell(options, data, (f"{'Made' if fresh else 'There is already'} {public.fingerprint}", public.line))


def listed(options: argparse.Namespace, home: Path) -> int:
    """The key that signs now, then those before it. Without any, nothing."""
    found = keys.every(home) if (home / "keys" / sshsig.KEY_FILE).exists() else []
    shown = [
        {"key": key.line, "fingerprint": key.fingerprint, "signs": number == 0} for number, key in enumerate(found)
    ]
    rows = [f"{'signs  ' if each['signs'] else 'retired'} {each['fingerprint']}" for each in shown]
    return tell(options, {"v": 1, "keys": shown}, rows or ["No key yet. Make one: airboss keys make"])


def rotate(options: argparse.Namespace, home: Path) -> int:
    """A new key signs from now on; the old one says so, and is deleted."""
    made = keys.rotate(home)
    rows = (
        f"{made.new.fingerprint} signs from now on. What {made.old.fingerprint} signed still verifies here.",
        "Tell everybody who pinned the old key: airboss keys publish. Witnesses need the new line of the log.",
    )
    return tell(options, {"v": 1, "old": made.old.line, "new": made.new.line, "signature": made.signature}, rows)


def adopt(options: argparse.Namespace, home: Path) -> int:
    """The keys of this home are those of all controllers from now on: the ones before are lost."""
    with store_of_home(home) as store:
        if not store.can_be_shared:
            raise Misused(
                attempted="change the fleet's keys",
                on=store.url,
                cause="controllers share no store here",
                hint="A home with a store of its own signs with the key that it has: airboss keys list.",
            )
        key = asyncio.run(fleet_keys.adopt(store, home))
    rows = (
        f"{key.fingerprint} signs for the fleet from now on. Copy keys/ to the other hosts.",
        "Nobody can check that it follows the lost one: tell everybody who pinned that, airboss keys publish.",
    )
    return tell(options, {"v": 1, "key": key.line, "fingerprint": key.fingerprint}, rows)


def publish(options: argparse.Namespace, home: Path) -> int:
    """What others need to pin, and to witness."""
    found, rotations = keys.every(home), keys.successions(home)
    try:
        with store_of_home(home) as store:
            log = log_key(f"airboss/{store.instance}", found[0].raw).line
    except (Misused, StoreUnavailable):  # there is no ledger yet
        log = ""
    if options.json:
        shown = {
            "allowed_signers": keys.allowed_signers(home),
            "log": log,
            "rotations": [r.line for r in rotations],
        }
        print_json({"v": 1, "keys": [key.line for key in found], **shown})
        return 0
    parts = [
        ("For --allowed-signers and ssh-keygen, the newest first", keys.allowed_signers(home)),
        ("For a witness (airboss witness DIR --log LINE)", f"{log}\n" if log else ""),
        ("Rotations: each old key signed its follower", "".join(f"{each.line}\n" for each in rotations)),
    ]
    sys.stdout.write("\n".join(f"# {title}\n{text}" for title, text in parts if text))
    return 0
