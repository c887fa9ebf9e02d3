"""The store of a home, for commands that read it without its controller."""

from __future__ import annotations

from pathlib import Path

from fleet.config import Secrets
from fleet.store.core import Store


def store_of_home(home: Path) -> Store:
    """What ``.env`` names, else the home's own file. Raises ``Misused`` where there is none yet."""
    return Store.open(Secrets.load(home).store_of(home), create=False)


def has_store(home: Path) -> bool:
    """Whether the home names a store elsewhere, or has one."""
    return bool(Secrets.load(home).get("AIRBOSS_STORE")) or (home / "airboss.db").exists()
