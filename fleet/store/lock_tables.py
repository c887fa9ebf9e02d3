"""The tables of locks, and of controllers. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import choice, counted, key, metadata, number, numbers, of, text, texts
from fleet.store.states import ControllerRole

# Who holds locks: one lease each ("lock:" and the id). Rows of tasks stay for a while after their end.
holds = Table(
    "holds",
    metadata,
    key("id"),
    *texts("holder", "task", "secret_sha256"),
    *numbers("since_us", "ended_us"),
    text("end"),
    Index(None, "ended_us"),
    Index(None, "task"),
)

# The resources of a hold. ``head``: the directory in which everything is that a path's pattern names.
locks = Table(
    "locks",
    metadata,
    key("scope"),
    counted("token"),
    of("hold", "holds.id"),
    *texts("name", "repo", "head", "mode", "cause"),
    *numbers("since_us", "ended_us"),
    Index(None, "hold"),
    Index(None, "scope", "ended_us", "head"),
)

# The last fencing token of each scope; it only grows. In the row without a scope: a random stamp of the last change
# to holds and locks, by which whoever keeps them in memory knows whether that was the last.
lock_tokens = Table("lock_tokens", metadata, key("scope"), number("token"))

# The processes that lead this store, or wait to: few, and forgotten a day after they were last seen.
controllers = Table(
    "controllers",
    metadata,
    key("instance"),
    *texts("host", "home", "version", "digest"),
    choice("role", ControllerRole),
    *numbers("since_us", "seen_us"),
    text("troubles"),  # JSON: a line for each cause
    text("env"),  # JSON: a keyed hash of each setting of .env that all must have; empty: not known yet
)

# Which controller leads a task that was started; only where several share the store. Gone soon after its end.
leads = Table(
    "leads",
    metadata,
    key("task"),
    text("controller"),
    *numbers("token", "since_us"),
)
