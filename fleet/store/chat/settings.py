"""Settings that people change at run time and that are in no file, such as how much a chat wants to hear."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select

from fleet.store.core import Tx
from fleet.store.tables import settings

_VALUE = select(settings.c.value).where(settings.c.key == bindparam("wanted"))
_UNSET = delete(settings).where(settings.c.key == bindparam("wanted"))
_SET = insert(settings)


def get(tx: Tx, key: str, default: str = "") -> str:
    """The value of a setting, or ``default`` when it is not set."""
    value = tx.connection.execute(_VALUE, {"wanted": key}).scalar_one_or_none()
    return default if value is None else value


def beginning(tx: Tx, prefix: str) -> dict[str, str]:
    """Every setting whose key starts with ``prefix``."""
    query = select(settings.c.key, settings.c.value).where(settings.c.key.startswith(prefix, autoescape=True))
    return {row.key: row.value for row in tx.connection.execute(query)}


def put(tx: Tx, key: str, value: str) -> None:
    """Changes a setting; the empty string removes it."""
    tx.connection.execute(_UNSET, {"wanted": key})
    if value:
        tx.connection.execute(_SET, {"key": key, "value": value})
