"""Where base branches were last seen."""

from __future__ import annotations

from fleet.store.migrations.steps import create, numbers, texts

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    create("base_tips", *texts("repo", "ref", "commit"), *numbers("seen_us"), *texts("stopped"), key=["repo"])
