"""Files that came with a command that had to ask a question: kept for the answer, so nobody sends a photo twice.

A question's buttons and a draft refer to them by a key that only they and the store know.
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
    """Keeps the files, which are on the disk, for a day. Returns their key, empty for no files."""
    now = tx.now_us()
    for key, stored in settings.beginning(tx, _PREFIX).items():
        if json.loads(stored)["until_us"] <= now:
            settings.put(tx, key, "")
    if not files:
        return ""
    key = _PREFIX + secrets.token_urlsafe(16)
    kept = {"until_us": now + LIVES_US, "files": [asdict(file) for file in files]}
    settings.put(tx, key, json.dumps(kept))
    return key


def under(tx: Tx, key: str) -> tuple[Attachment, ...]:
    """The files under a key, none for any other text. Raises ``Refused`` when they have expired: a task that came
    with a picture does not start without it."""
    if not key.startswith(_PREFIX):
        return ()
    raw = json.loads(settings.get(tx, key) or "{}")
    if raw.get("until_us", 0) <= tx.now_us():
        raise Refused(
            attempted="use your files",
            cause="they were kept for one day and have expired",
            hint="Send them again, with /run or /ask.",
        )
    return tuple(Attachment(**file) for file in raw["files"])


def paths(tx: Tx) -> set[str]:
    """The paths of the files that may still be needed."""
    kept = map(json.loads, settings.beginning(tx, _PREFIX).values())
    return {file["path"] for raw in kept if raw["until_us"] > tx.now_us() for file in raw["files"]}
