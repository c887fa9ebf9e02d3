"""The columns that tables of the store are made of, and the metadata that all of them share.

Times are microseconds since the epoch by the store's clock (``leases.since_us``: since a boot); 0 means "not yet".
Nothing is nullable: the empty string and 0 say "nothing", so no reader has to tell two kinds of nothing apart.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    TypeDecorator,
)

E = TypeVar("E", bound=StrEnum)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

# On SQLite only INTEGER PRIMARY KEY is the row id itself; BIGINT would add a second index.
_Big = BigInteger().with_variant(Integer(), "sqlite")


def text(name: str) -> Column[str]:
    """Words."""
    return Column(name, Text, nullable=False)


def texts(*names: str) -> list[Column[str]]:
    """Several of them."""
    return [text(name) for name in names]


class _Choice(TypeDecorator[E], Generic[E]):
    """An enum in Python, its text in the database. ``maybe``: ``None`` is the empty text."""

    impl = Text
    cache_ok = True

    def __init__(self, values: type[E], *, maybe: bool = False) -> None:
        super().__init__()
        self.values, self.maybe = values, maybe

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if self.maybe and not value:
            return ""
        return None if value is None else self.values(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:
        return None if value is None or (self.maybe and not value) else self.values(value)


def choice(name: str, values: type[E]) -> Column[E]:
    """One of an enum's values, stored as its text."""
    return Column(name, _Choice(values), nullable=False)


def added_choice(name: str, values: type[E], *, maybe: bool = False) -> Column[E]:
    """The same, in a column added later. ``maybe``: or ``None``."""
    return Column(name, _Choice(values, maybe=maybe), nullable=False, server_default="")


class _List(TypeDecorator[tuple[str, ...]]):
    """Words as a tuple in Python, as a JSON list in the database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(json.loads(value))


def listed(name: str) -> Column[tuple[str, ...]]:
    """Any number of words."""
    return Column(name, _List, nullable=False)


def number(name: str) -> Column[int]:
    """A whole number."""
    return Column(name, _Big, nullable=False)


def numbers(*names: str) -> list[Column[int]]:
    """Several of them."""
    return [number(name) for name in names]


def serial(name: str = "id") -> Column[int]:
    """A key that counts up by itself."""
    return Column(name, _Big, primary_key=True, autoincrement=True)


def counted(name: str) -> Column[int]:
    """A number that is the key, or a part of it, and is given."""
    return Column(name, _Big, primary_key=True, autoincrement=False)


def added_text(name: str) -> Column[str]:
    """A column added later: rows of an older store have an empty value."""
    return Column(name, Text, nullable=False, server_default="")


def added_number(name: str) -> Column[int]:
    return Column(name, _Big, nullable=False, server_default="0")


def flag(name: str) -> Column[bool]:
    """Yes or no."""
    return Column(name, Boolean, nullable=False)


def blob(name: str) -> Column[bytes]:
    """Bytes."""
    return Column(name, LargeBinary, nullable=False)


def of(name: str, target: str) -> Column[str]:
    """A text that is the key of a row of another table."""
    return Column(name, Text, ForeignKey(target), nullable=False)


def key(name: str) -> Column[str]:
    """A text that is the key, or a part of it."""
    return Column(name, Text, primary_key=True)


def keys(*names: str) -> list[Column[str]]:
    """Texts that are the key together, or parts of it."""
    return [key(name) for name in names]
