"""A digest's picture as a file."""

from __future__ import annotations

from pathlib import Path

from bot.digest import Digest
from fleet import files


def drawn(folder: Path, made: Digest) -> str:
    """Draws it, and returns its path. Raises ``DiskFull`` or ``Unavailable``."""
    from bot.plots import digest_picture

    path = folder / f"digest-{made.first_seq}-{made.last_seq}.png"
    picture = digest_picture(made)
    with files.writing("keep the picture", Path(path.name)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(path, picture)
    return str(path)
