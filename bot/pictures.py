"""A digest's picture as a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bot.digest import Digest
from fleet import files


def drawn(folder: Path, made: Digest) -> str:
    """Draws it, and returns its path, which is another one for another picture: the same events give others by
    another clock or of other days. Raises ``DiskFull`` or ``Unavailable``."""
    from bot.plots import digest_picture

    picture = digest_picture(made)
    path = folder / f"digest-{hashlib.sha256(picture).hexdigest()[:16]}.png"
    with files.writing("keep the picture", Path(path.name)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(path, picture)
    return str(path)
