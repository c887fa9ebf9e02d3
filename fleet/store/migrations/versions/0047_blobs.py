"""Files that controllers share are in the store; the files of before are shared once they are written again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size", _BIG, nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("touched_us", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blobs")),
    )
    op.create_table(
        "blob_chunks",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("position", _BIG, autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "position", name=op.f("pk_blob_chunks")),
    )
    op.create_table(
        "blob_names",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("controller", sa.Text(), nullable=False),
        sa.Column("put_us", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", "owner", name=op.f("pk_blob_names")),
    )
    op.create_index(op.f("ix_blob_names_digest"), "blob_names", ["digest"])
    op.create_index(op.f("ix_blob_names_kind_put_us"), "blob_names", ["kind", "put_us"])
