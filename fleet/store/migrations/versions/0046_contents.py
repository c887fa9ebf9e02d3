"""What was said is kept beside the ledger, for a while; the ledger of before keeps what it has."""

from __future__ import annotations

from fleet.store.migrations.steps import blobs, counted, create, numbers

revision = "0046"
down_revision = "0045"


def upgrade() -> None:
    create("contents", counted("seq"), *numbers("time_us"), *blobs("salt", "said"), key=["seq"])
