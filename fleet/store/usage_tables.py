"""The tables of what agents used, of tasks that were halted, and of people who work by hand in them.

A change here needs a migration; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import added_text, choice, counted, flag, key, metadata, number, of, serial, text
from fleet.store.states import AfterHand, HaltCause, ProcessKind, TakeoverState

# What was used, by quarter of an hour since the epoch; a task's has slot 0. ``cost_udollar`` is what agents report.
usage = Table(
    "usage",
    metadata,
    key("scope"),
    key("name"),
    counted("slot"),
    key("agent"),
    number("cost_udollar"),
    number("input_tokens"),
    number("output_tokens"),
    number("unpriced_input"),
    number("unpriced_output"),
    number("calls"),
    number("attempts"),
    number("time_us"),
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
    text("by"),
    text("name"),
    text("pipe"),
    text("nonce"),
    text("terminal"),
    choice("then", AfterHand),
    choice("state", TakeoverState),
    number("since_us"),
    number("ended_us"),
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
    text("agent"),
    text("conversation"),
    text("person"),
    text("machine"),
    text("repo"),
    text("directory"),
    text("secret_sha256"),
    text("hold"),
    text("doing"),
    text("judged"),
    number("began_us"),
    number("seen_us"),
    number("ended_us"),
    added_text("adopt"),
    Index(None, "conversation"),
    Index(None, "ended_us"),
)
