"""The files of a card where it is sent: another controller may have written them, on another host.

The store has a copy of each before the card is in the outbox (:mod:`bot.outbox.posting`). With a store that nobody
shares, files are where the card says.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

from bot.cards import Card, line
from fleet import shared_files
from fleet.errors import AirbossError, StoreUnavailable
from fleet.store import blobs
from fleet.store.core import Store

BROUGHT: Final = "brought"
"""The folder, among a home's files, of what other controllers wrote."""


async def brought(store: Store, folder: Path, card: Card) -> Card:
    """The card with its files on this host; one that cannot be brought is named. Raises ``StoreUnavailable``."""
    if not store.can_be_shared:
        return card
    for which in ("picture", "document"):
        path = getattr(card, which)
        if not path:
            continue
        try:
            here = await _here(store, folder, path)
        except StoreUnavailable:
            raise
        except AirbossError as error:
            said = line(f"The file {Path(path).name} cannot be gotten out of the store: {error.cause}")
            card = replace(card, lines=(*card.lines, said))
            here = ""
        card = replace(card, picture=here) if which == "picture" else replace(card, document=here)
    return card


async def _here(store: Store, folder: Path, path: str) -> str:
    found = await store.read(lambda tx: blobs.named(tx, path))
    if found is None or await asyncio.to_thread(_is, Path(path), found.digest):
        return path
    target = folder / BROUGHT / found.digest[:16] / Path(path).name
    if not await asyncio.to_thread(_is, target, found.digest):
        await shared_files.bring(store, path, target)
    return str(target)


def _is(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
