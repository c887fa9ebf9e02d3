"""What is in a backup: one compressed tar file, 0600, with a manifest first.

The store is copied first, the repositories after it: what the store names is then in them.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Final

from fleet.config.home import FLEET_FILE, SECRETS_FILE
from fleet.errors import Malformed

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
STORE: Final = "airboss.db"
FILES: Final = (FLEET_FILE, SECRETS_FILE)
FOLDERS: Final = ("keys", "pinned", "receipts", "files", "gates", ".ssh")
"""Of the home. Left out: logs, locks, and what is made anew."""

PACK, REFS = "objects.pack", "refs.list"
"""Of each repository, under ``repos/NAME.git/``: all its objects, and what its refs point to."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says about itself."""

    format: int
    version: str
    schema: str
    instance: str
    host: str
    created_us: int
    ledger_size: int
    ledger_root: str

    def to_bytes(self) -> bytes:
        """The form in the file."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """The inverse. Raises ``Malformed`` for anything else, and for a format that this version does not know."""
        try:
            raw: Mapping[str, object] = json.loads(data)
            found = cls(**raw)  # type: ignore[arg-type]  # a wrong name raises here, a wrong type below
            if found.format != FORMAT or not isinstance(found.ledger_size, int):
                raise ValueError(f"format {found.format}; this version reads format {FORMAT}")
        except (ValueError, TypeError) as error:
            raise unreadable(f"its manifest: {error}") from error
        return found


def unreadable(cause: str) -> Malformed:
    """The error for a file that is no backup of ours."""
    return Malformed(attempted="read the backup", cause=cause[:300], hint="Use a file that airboss backup made.")


def wanted(member: tarfile.TarInfo) -> PurePosixPath:
    """Where a member belongs in the home. Raises ``Malformed`` for a link, a device, or any other place."""
    path = PurePosixPath(member.name)
    top = path.parts[0] if path.parts else ""
    repository = len(path.parts) == 3 and top == "repos" and path.parts[1].endswith(".git")
    ours = (
        (len(path.parts) == 1 and top in (*FILES, STORE, MANIFEST))
        or (len(path.parts) > 1 and top in FOLDERS)
        or (repository and path.name in (PACK, REFS))
    )
    if not member.isreg() or path.is_absolute() or ".." in path.parts or not ours:
        raise unreadable(f"it contains {member.name[:100]!r}, which no backup has")
    return path
