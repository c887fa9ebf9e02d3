"""Every table of the store, as SQLAlchemy Core metadata. A change here needs a migration; a test compares the two.

What times are, and what says "nothing", is in :mod:`fleet.store.columns`.
"""

from __future__ import annotations

from sqlalchemy import Index, Table, UniqueConstraint, literal_column

from fleet.agent_events import TurnOutcome
from fleet.model import Isolation, PipeEnd, TaskMode, TaskState, TurnCause
from fleet.store import (
    blob_tables,
    chat_tables,
    figure_tables,
    lock_tables,
    merge_tables,
    queue_tables,
    schedule_tables,
    usage_tables,
)
from fleet.store.columns import (
    added_choice,
    added_number,
    added_text,
    blob,
    choice,
    counted,
    flag,
    key,
    keys,
    listed,
    metadata,
    number,
    numbers,
    of,
    serial,
    text,
    texts,
)
from fleet.store.states import ApprovalKind, ApprovalScope, InboxState, OutboxKind, OutboxState, TreeState

__all__ = [
    "blob_tables",
    "chat_tables",
    "figure_tables",
    "lock_tables",
    "merge_tables",
    "metadata",
    "queue_tables",
    "schedule_tables",
    "usage_tables",
]

meta = Table("meta", metadata, key("key"), text("value"))

settings = Table("settings", metadata, key("key"), text("value"))

# ``canonical`` is authoritative; the other columns are copies of parts of it, for queries.
ledger = Table(
    "ledger",
    metadata,
    counted("seq"),
    text("id"),
    number("time_us"),
    text("kind"),
    number("v"),
    *texts("actor", "task", "session", "turn", "gate_run", "machine", "source"),
    blob("canonical"),
    blob("leaf"),
    Index(None, "kind", "seq"),
    Index(None, "task", "seq"),
    Index(None, "task", "kind", "seq"),
    Index(None, "time_us", "seq"),
    Index("ix_ledger_imported_time_us", "time_us", sqlite_where=literal_column("source = 'import'")),
)

# The ledger's Merkle tree, one row: how many leaves, and the roots of its complete subtrees, largest first.
ledger_frontier = Table("ledger_frontier", metadata, counted("id"), number("size"), blob("hashes"))

# Roots of complete subtrees of 256 leaves, of 65,536, and so on.
ledger_nodes = Table("ledger_nodes", metadata, counted("level"), counted("position"), blob("hash"))

tasks = Table(
    "tasks",
    metadata,
    counted("number"),
    *texts("id", "repo", "agent", "machine", "prompt"),
    choice("mode", TaskMode),
    choice("state", TaskState),
    *texts("why", "requester", "adapter", "chat", "thread"),
    *numbers("created_us", "updated_us"),
    *texts("retry_of", "stop_by"),
    added_text("locks"),
    added_number("rank"),  # the lowest starts first; people change it
    added_text("after_task"),
    added_text("budget"),  # its own limits, as JSON
    added_text("needs"),  # separated by commas
    added_text("forked"),  # session, snapshot and base, separated by spaces
    added_text("model"),
    UniqueConstraint("id"),
    Index(None, "state"),
    Index(None, "state", "rank", "number"),
    Index(None, "retry_of", "number"),
    Index(None, "repo", "number"),
    Index(None, "adapter", "chat", "number"),
    Index(None, "updated_us"),
)

sessions = Table(
    "sessions",
    metadata,
    key("id"),
    of("task", "tasks.id"),
    number("number"),
    *texts("machine", "agent", "base", "workspace"),
    choice("isolation", Isolation),
    text("conversation"),
    number("pipes"),
    text("pipe"),
    choice("pipe_end", PipeEnd),
    flag("one_turn"),
    text("nonce"),
    number("spool_offset"),
    *texts("driver_state", "resume"),
    *numbers("started_us", "ended_us", "seen_us"),
    added_text("mark"),
    added_text("login"),
    added_number("base_us"),
    added_number("port_slot"),
    added_text("boot"),
    UniqueConstraint("task", "number"),
    Index(None, "ended_us"),
    Index(None, "resume"),
)

# What became of a session's worktree after its task ended without landing; no row: nothing yet.
trees = Table(
    "trees",
    metadata,
    key("session"),
    choice("state", TreeState),
    text("decided_by"),
    *numbers("kept_us", "changed_us"),
    Index(None, "state"),
)

turns = Table(
    "turns",
    metadata,
    key("id"),
    of("session", "sessions.id"),
    number("number"),
    text("pipe"),
    choice("cause", TurnCause),
    *texts("prompt", "claim", "snapshot", "tree"),
    *numbers("started_us", "ended_us"),
    added_choice("outcome", TurnOutcome, maybe=True),
    added_text("error"),
    added_text("exit"),
    UniqueConstraint("session", "number"),
)

# Bytes queued for each pipe's process; every process reads its own input from 0.
inputs = Table(
    "inputs",
    metadata,
    serial(),
    text("pipe"),
    number("position"),
    blob("data"),
    flag("eof"),
    Index(None, "pipe", "position"),
)

notes = Table(
    "notes",
    metadata,
    serial(),
    of("session", "sessions.id"),
    *texts("text", "actor"),
    *numbers("at_us", "taken_us"),
    Index(None, "session", "taken_us"),
)

approvals = Table(
    "approvals",
    metadata,
    counted("number"),
    text("id"),
    choice("kind", ApprovalKind),
    *texts("task", "session", "ask", "tool", "request", "command"),
    listed("paths"),
    *texts("commit", "tree", "reason"),
    *numbers("opened_us", "expires_us"),
    *texts("decision", "decided_by", "decided_why"),
    *numbers("decided_us", "taken_us"),
    added_text("directory"),
    added_text("questions"),
    added_choice("scope", ApprovalScope),
    added_number("pinged_us"),
    added_number("reminded_us"),
    added_number("kept_us"),
    UniqueConstraint("id"),
    Index(None, "decision"),
    Index(None, "session", "taken_us"),
    Index(None, "task"),
)

gate_runs = Table(
    "gate_runs",
    metadata,
    key("id"),
    *texts("task", "session", "turn", "gate", "commit", "tree", "base"),
    number("round"),
    listed("argv"),
    *texts("definition_sha256", "machine", "nonce", "pipe", "login", "supervisor"),
    *numbers("opened_us", "closed_us"),
    text("result"),
    Index(None, "commit", "round"),
    Index(None, "turn", "gate"),
    Index(None, "task"),
    Index(None, "closed_us"),
    Index(None, "pipe"),
)

landings = Table(
    "landings",
    metadata,
    serial(),
    *texts("task", "repo", "ref", "old", "new", "tree", "fence"),
    number("token"),
    text("outcome"),
    *numbers("intended_us", "finished_us"),
    Index(None, "repo", "outcome"),
    Index(None, "task"),
)

leases = Table(
    "leases",
    metadata,
    key("name"),
    text("holder"),
    *numbers("token", "expires_us"),
    added_text("boot"),
    added_number("since_us"),
    added_number("lasts_us"),
)

inbox = Table(
    "inbox",
    metadata,
    serial(),
    *texts("adapter", "update_id"),
    blob("payload"),
    choice("state", InboxState),
    text("why"),
    *numbers("received_us", "settled_us"),
    added_text("outcome"),
    UniqueConstraint("adapter", "update_id"),
    Index(None, "state", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    serial(),
    choice("kind", OutboxKind),
    *texts("adapter", "chat", "thread", "card_key"),
    number("put"),
    text("card_json"),
    flag("ping"),
    number("priority"),
    text("task"),
    choice("state", OutboxState),
    flag("again"),
    *numbers("attempts", "not_before_us"),
    *texts("message_id", "why"),
    *numbers("created_us", "settled_us"),
    Index(None, "adapter", "state", "id"),
    Index(None, "put", "state"),
    Index(None, "adapter", "chat", "message_id"),
)

# Where a card is now: the outbox row that posted it and, once delivered, the platform's message id.
cards = Table(
    "cards",
    metadata,
    *keys("card_key", "adapter", "chat", "thread"),
    number("put"),
    text("message_id"),
    Index(None, "put"),
    Index(None, "adapter", "chat"),
)

# Prefix of the key of a card that only has one so that its buttons can be removed.
LOOSE = "buttons:"

# Buttons: opaque tokens for command lines.
actions = Table(
    "actions",
    metadata,
    key("token"),
    *texts("adapter", "chat", "command", "digest", "person"),
    flag("once"),
    *numbers("created_us", "expires_us", "used_us"),
    text("used_by"),
    added_number("put"),
    Index(None, "adapter", "chat", "command"),
    Index(None, "command", "put", "created_us"),
    Index(None, "person"),
)

# Files that people sent: with a task's request (note 0) or with a later note.
attachments = Table(
    "attachments",
    metadata,
    serial(),
    text("task"),
    number("note"),
    *texts("name", "path", "media_type"),
    number("size"),
    Index(None, "task", "note"),
)
