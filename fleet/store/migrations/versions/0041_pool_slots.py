"""The slots that pools have."""

from __future__ import annotations

from fleet.store.migrations.steps import create, index, numbers, texts

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    create(
        "pool_slots",
        *texts("slot", "pool"),
        *numbers("number"),
        *texts("name", "state", "terms", "target"),
        *numbers("price_udollar", "asked_us", "up_us", "gone_us", "tries", "next_us"),
        *texts("why"),
        key=["slot"],
    )
    index("pool_slots", "pool", "number", unique=True)
    index("pool_slots", "name", unique=True)
    index("pool_slots", "state")
    index("pool_slots", "gone_us")
