"""The tables of files that controllers share. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import blob, choice, counted, flag, key, keys, metadata, number, texts
from fleet.store.states import BlobKind

# Bytes by their SHA-256. ``whole``: all chunks are there. ``touched_us``: when somebody last began to put them.
blobs = Table("blobs", metadata, key("digest"), number("size"), flag("whole"), number("touched_us"))

blob_chunks = Table("blob_chunks", metadata, key("digest"), counted("position"), blob("data"))

# What a file is called, and who needs it: a task or a session. ``needs``: other names, separated by spaces, without
# which it is of no use. ``controller``: who put it here.
blob_names = Table(
    "blob_names",
    metadata,
    *keys("name", "owner"),
    choice("kind", BlobKind),
    *texts("digest", "needs", "controller"),
    number("put_us"),
    Index(None, "digest"),
    Index(None, "kind", "put_us"),
)
