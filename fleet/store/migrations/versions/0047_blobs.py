"""Files that controllers share are in the store; the files of before are shared once they are written again."""

from __future__ import annotations

from fleet.store.migrations.steps import blobs, counted, create, flags, index, numbers, texts

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    create("blobs", *texts("digest"), *numbers("size"), *flags("whole"), *numbers("touched_us"), key=["digest"])
    create("blob_chunks", *texts("digest"), counted("position"), *blobs("data"), key=["digest", "position"])
    create(
        "blob_names",
        *texts("name", "owner", "kind", "digest", "needs", "controller"),
        *numbers("put_us"),
        key=["name", "owner"],
    )
    index("blob_names", "digest")
    index("blob_names", "kind", "put_us")
