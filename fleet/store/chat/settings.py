"""Small facts that people set at run time and no file knows, such as how much a chat wants to hear."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select

from fleet.store.core import Tx
from fleet.store.tables import settings

_VALUE = select(settings.c.value).where(settings.c.key == bindparam("wanted"))
_UNSET = delete(settings).where(settings.c.key == bindparam("wanted"))
_SET = insert(settings)


def get(tx: Tx, key: str, default: str = "") -> str:
    """The value of a setting, or ``default`` when nobody set it."""
    value = tx.connection.execute(_VALUE, {"wanted": key}).scalar_one_or_none()
    return default if value is None else value


def beginning(tx: Tx, prefix: str) -> dict[str, str]:
    """Every setting whose key begins with ``prefix``."""
    query = select(settings.c.key, settings.c.value).where(settings.c.key.startswith(prefix, autoescape=True))
    return {row.key: row.value for row in tx.connection.execute(query)}


def put(tx: Tx, key: str, value: str) -> None:
    """Sets a setting; the empty string unsets it."""
    tx.connection.execute(_UNSET, {"wanted": key})
    if value:
        tx.connection.execute(_SET, {"key": key, "value": value})
