"""Sessions that people start by hand."""

from __future__ import annotations

import sqlalchemy as sa

from fleet.store.migrations.steps import BIG, create, index

revision = "0040"
down_revision = "0039"

_TEXTS = (
    *("agent", "conversation", "person", "machine", "repo", "directory"),
    *("secret_sha256", "hold", "doing", "judged"),
)


def upgrade() -> None:
    create(
        "hooked",
        sa.Column("number", BIG, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        *(sa.Column(name, BIG, nullable=False) for name in ("began_us", "seen_us", "ended_us")),
        key=["number"],
    )
    index("hooked", "conversation")
    index("hooked", "ended_us")
