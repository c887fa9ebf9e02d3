"""Files that came with a command which had to ask back: held for the answer, since nobody sends a photo twice.

A question's buttons and a draft name them by a key that only the store and they know.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from bot.message import Attachment
from fleet.errors import Refused
from fleet.store.chat import settings
from fleet.store.core import Tx

LIVES_US: Final = 24 * 3_600_000_000
_PREFIX: Final = "held-files:"


def hold(tx: Tx, files: Sequence[Attachment]) -> str:
    """Holds the files, which are on the disk, for a day; answers their key, empty for none."""
    now = tx.now_us()
    for key, stored in settings.beginning(tx, _PREFIX).items():
        if json.loads(stored)["until_us"] <= now:
            settings.put(tx, key, "")
    if not files:
        return ""
    key = _PREFIX + secrets.token_urlsafe(16)
    kept = {"until_us": now + LIVES_US, "files": [asdict(one) for one in files]}
    settings.put(tx, key, json.dumps(kept))
    return key


def under(tx: Tx, key: str) -> tuple[Attachment, ...]:
    """The files under a key, none for one that is no such key. Raises ``Refused`` when they are gone by now: what
    was asked for with a picture is not begun without it."""
    if not key.startswith(_PREFIX):
        return ()
    raw = json.loads(settings.get(tx, key) or "{}")
    if raw.get("until_us", 0) <= tx.now_us():
        raise Refused(
            attempted="use your files",
            cause="they were kept for one day and have expired",
            hint="Send them again, with /run or /ask.",
        )
    return tuple(Attachment(**one) for one in raw["files"])


def paths(tx: Tx) -> set[str]:
    """Where the files are that somebody may still ask for."""
    kept = map(json.loads, settings.beginning(tx, _PREFIX).values())
    return {one["path"] for raw in kept if raw["until_us"] > tx.now_us() for one in raw["files"]}
