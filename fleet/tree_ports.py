"""The part of an executor's port that keeps checkouts on a machine between gate runs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class TreeKeeper(Protocol):
    """One login's kept checkouts. Errors and repetition are as for every call of an executor."""

    async def take_tree(self, store: str, place: str, wanted: str) -> str:
        """Makes one of the checkouts kept in ``store`` the one at ``place``, both under ``root``. Returns the tree
        that it says it holds, ``wanted`` if there is such a one; empty: there was none."""

    async def move_tree(self, place: str, change: Path) -> None:
        """Changes a checkout that was taken, by what ``fleet.git.kept_trees`` wrote into the file."""

    async def put_back_tree(self, store: str, place: str, tree: str) -> None:
        """Keeps a checkout that holds ``tree``; empty, or where it may be another one by now: removes it."""
