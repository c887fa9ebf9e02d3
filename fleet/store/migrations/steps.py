"""What migrations are made of: tables with their keys, columns that are never null, indexes by their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.schema import SchemaItem
from sqlalchemy.types import TypeEngine

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def create(table: str, *items: SchemaItem, key: Sequence[str]) -> None:
    """A new table with this primary key."""
    op.create_table(table, *items, sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")))


def index(table: str, *columns: str, unique: bool = False) -> None:
    """An index on these columns."""
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns), unique=unique)


def texts(*names: str) -> list[sa.Column[Any]]:
    """Columns of words."""
    return _columns(sa.Text(), names)


def numbers(*names: str) -> list[sa.Column[Any]]:
    """Columns of whole numbers."""
    return _columns(BIG, names)


def counted(name: str) -> sa.Column[Any]:
    """A number that is the key, or a part of it, and is given."""
    return sa.Column(name, BIG, autoincrement=False, nullable=False)


def flags(*names: str) -> list[sa.Column[Any]]:
    """Columns of yes or no."""
    return _columns(sa.Boolean(), names)


def blobs(*names: str) -> list[sa.Column[Any]]:
    """Columns of bytes."""
    return _columns(sa.LargeBinary(), names)


def _columns(kind: TypeEngine[Any], names: Sequence[str]) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names]
