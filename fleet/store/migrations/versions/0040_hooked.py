"""Sessions that people start by hand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXTS = (
    *("agent", "conversation", "person", "machine", "repo", "directory"),
    *("secret_sha256", "hold", "doing", "judged"),
)


def upgrade() -> None:
    op.create_table(
        "hooked",
        sa.Column("number", _BIG, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        *(sa.Column(name, _BIG, nullable=False) for name in ("began_us", "seen_us", "ended_us")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_hooked")),
    )
    op.create_index(op.f("ix_hooked_conversation"), "hooked", ["conversation"])
    op.create_index(op.f("ix_hooked_ended_us"), "hooked", ["ended_us"])
