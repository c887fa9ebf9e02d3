"""Leases use a clock that nobody can set. Older leases last their full time from when they are first seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_leases = sa.table("leases", *(sa.column(name) for name in ("name", "lasts_us")))


def upgrade() -> None:
    op.add_column("leases", sa.Column("boot", sa.Text(), nullable=False, server_default=""))
    for name in ("since_us", "lasts_us"):
        op.add_column("leases", sa.Column(name, _BIG, nullable=False, server_default="0"))
    controller = _leases.c.name == "controller"
    op.get_bind().execute(sa.update(_leases).values(lasts_us=sa.case((controller, 15_000_000), else_=60_000_000)))
