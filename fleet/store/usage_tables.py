"""The tables of what agents used, of tasks that were halted, and of people who work by hand in them.

A change here needs a migration; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import (
    added_text,
    choice,
    counted,
    flag,
    key,
    keys,
    metadata,
    number,
    numbers,
    of,
    serial,
    text,
    texts,
)
from fleet.store.states import AfterHand, HaltCause, ProcessKind, TakeoverState

# What was used, by quarter of an hour since the epoch; a task's has slot 0. ``cost_udollar`` is what agents report.
usage = Table(
    "usage",
    metadata,
    *keys("scope", "name"),
    counted("slot"),
    key("agent"),
    *numbers("cost_udollar", "input_tokens", "output_tokens", "unpriced_input", "unpriced_output"),
    *numbers("calls", "attempts", "time_us"),
    Index(None, "scope", "slot"),
)

# The tokens of a session's process that the next report of a cost covers.
unpriced_usage = Table(
    "unpriced_usage", metadata, key("session"), counted("slot"), number("input"), number("output")
)

# What people added to limits.
budget_grants = Table(
    "budget_grants", metadata, key("scope"), key("name"), key("measure"), counted("slot"), number("amount")
)

# The session whose turn is ended, or was, because of what its task used or because it makes no progress.
halts = Table("halts", metadata, key("session"), text("turn"), choice("cause", HaltCause), text("words"))

# The tool call that a session repeats: how often in a row, without an edit in between.
repeats = Table("repeats", metadata, key("session"), text("fingerprint"), number("times"))

# People who work by hand in an agent's session, or did.
takeovers = Table(
    "takeovers",
    metadata,
    serial(),
    of("task", "tasks.id"),
    of("session", "sessions.id"),
    *texts("by", "name", "pipe", "nonce", "terminal"),
    choice("then", AfterHand),
    choice("state", TakeoverState),
    *numbers("since_us", "ended_us"),
    Index(None, "task"),
)

# Processes of closed sessions that are to be ended once their machine answers. ``ending``: it is being ended now,
# so that nobody takes it up.
left_running = Table(
    "left_running",
    metadata,
    key("pipe"),
    of("session", "sessions.id"),
    choice("kind", ProcessKind),
    number("since_us"),
    flag("ending"),
)

# Sessions that people start by hand. ``hold``: the id of the locks that it takes. ``secret_sha256``: of what its
# hook shows with every request.
hooked = Table(
    "hooked",
    metadata,
    counted("number"),
    *texts("agent", "conversation", "person", "machine", "repo", "directory", "secret_sha256"),
    *texts("hold", "doing", "judged"),
    *numbers("began_us", "seen_us", "ended_us"),
    added_text("adopt"),
    Index(None, "conversation"),
    Index(None, "ended_us"),
)
