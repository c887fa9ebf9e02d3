"""An old home in a new house. ``tests/fixtures/build_home.py`` says how it was made."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.far_end.old_homes import FIXTURES, unpack_home
from tests.scenarios.house import House, house

LANDED, HELD, RUNNING = "t1", "t2", "t3"


@contextmanager
def old_home(name: str, *, stopped: bool = True) -> Iterator[House]:
    """The house of an archived home, not yet served. Nothing in it has changed but where it stands.

    ``stopped``: its controller gave up its lease at its end; otherwise it was killed, and the lease runs out first.
    """
    with house() as made:
        unpack(name, made.directory)
        if stopped:
            with closing(sqlite3.connect(made.home / "airboss.db")) as database, database:
                database.execute("UPDATE leases SET holder = '', expires_us = 0")
        made.configure()
        yield made


def unpack(name: str, directory: Path) -> None:
    """Puts the archive's parts in ``directory``, and says in them that they stand there now."""
    shutil.rmtree(directory / "home", ignore_errors=True)
    shutil.rmtree(directory / "shop.git", ignore_errors=True)
    unpack_home(FIXTURES / name, directory)
    before = (directory / "directory").read_text().strip()
    with closing(sqlite3.connect(directory / "home" / "airboss.db")) as database, database:
        database.execute("UPDATE sessions SET workspace = replace(workspace, ?, ?)", (before, str(directory)))
    machine = directory / "evo-x2" / ".airboss"
    for pointer in (*machine.glob("work/*/.git"), *machine.glob("repos/*/worktrees/*/gitdir")):
        pointer.write_text(pointer.read_text().replace(before, str(directory)))
