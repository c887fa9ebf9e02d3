"""Settings that people change at run time and that are in no file, such as how much a chat wants to hear."""

from __future__ import annotations

from sqlalchemy import Integer, bindparam, delete, func, insert, select

from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import settings

_VALUE = Statement(select(settings.c.value).where(settings.c.key == bindparam("wanted")))
_UNSET = Statement(delete(settings).where(settings.c.key == bindparam("wanted")))
_SET = Statement(insert(settings))
_FROM = Statement(
    select(settings.c.key, settings.c.value).where(
        func.substr(settings.c.key, 1, bindparam("length", type_=Integer)) == bindparam("prefix")
    )
)


def get(tx: Tx, key: str, default: str = "") -> str:
    """The value of a setting, or ``default`` when it is not set."""
    found = _VALUE.one(tx.connection, {"wanted": key})
    return default if found is None else str(found.value)


def beginning(tx: Tx, prefix: str) -> dict[str, str]:
    """Every setting whose key starts with ``prefix``."""
    rows = _FROM.all(tx.connection, {"length": len(prefix), "prefix": prefix})
    return {row.key: row.value for row in rows}


def put(tx: Tx, key: str, value: str) -> None:
    """Changes a setting; the empty string removes it."""
    _UNSET.run(tx.connection, {"wanted": key})
    if value:
        _SET.run(tx.connection, {"key": key, "value": value})
