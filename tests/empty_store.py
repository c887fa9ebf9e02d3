"""New stores, copied from one that is made once: the migrations take longer than most tests."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from fleet.store import tables
from fleet.store.core import Store
from tests.far_end.postgres import Postgres

_TEMPLATE = "airboss_empty"


def filled(path: Path) -> Path:
    """Puts an empty store at ``path`` unless there is a file. It gets an id of its own when it is opened."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_empty(), path)
    return path


def filled_database(server: Postgres) -> str:
    """The URL of a new database that is an empty store. It gets an id of its own when it is opened."""
    if _TEMPLATE not in server.databases():
        made = server.new_database()
        with Store.open(made) as store:
            _forget_id(store)
        server.rename(made, _TEMPLATE)
    return server.new_database(_TEMPLATE)


@cache
def _empty() -> Path:
    path = Path(mkdtemp(prefix="ab-empty-")) / "airboss.db"
    with Store.open(f"sqlite:///{path}") as store:
        _forget_id(store)
    return path


def _forget_id(store: Store) -> None:
    with store.transaction() as tx:
        tx.connection.execute(tables.meta.delete().where(tables.meta.c.key == "instance"))
