"""Every table of the store, as SQLAlchemy Core metadata. A change here needs a migration; a test compares the two.

Times are microseconds since the epoch by the store's clock (``leases.since_us``: since a boot); 0 means "not yet".
Nothing is nullable: the empty string and 0 say "nothing", so no reader has to tell two kinds of nothing apart.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

# On SQLite only INTEGER PRIMARY KEY is the row id itself; BIGINT would add a second index.
_Big = BigInteger().with_variant(Integer(), "sqlite")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, _Big, nullable=False)


def _serial(name: str = "id") -> Column[int]:
    return Column(name, _Big, primary_key=True, autoincrement=True)


def _counted(name: str) -> Column[int]:
    return Column(name, _Big, primary_key=True, autoincrement=False)


def _added_text(name: str) -> Column[str]:
    """A column that came later: rows of an older store have nothing in it."""
    return Column(name, Text, nullable=False, server_default="")


def _added_number(name: str) -> Column[int]:
    return Column(name, _Big, nullable=False, server_default="0")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _of(name: str, target: str) -> Column[str]:
    return Column(name, Text, ForeignKey(target), nullable=False)


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


meta = Table("meta", metadata, _key("key"), _text("value"))

settings = Table("settings", metadata, _key("key"), _text("value"))

# ``canonical`` is the truth; the other columns are copies of parts of it, to select by.
ledger = Table(
    "ledger",
    metadata,
    _counted("seq"),
    _text("id"),
    _number("time_us"),
    _text("kind"),
    _number("v"),
    _text("actor"),
    _text("task"),
    _text("session"),
    _text("turn"),
    _text("gate_run"),
    _text("machine"),
    _text("source"),
    _bytes("canonical"),
    _bytes("leaf"),
    Index(None, "kind", "seq"),
    Index(None, "task", "seq"),
    Index(None, "task", "kind", "seq"),
    Index(None, "time_us", "seq"),
)

# The ledger's Merkle tree, one row: how many leaves, and the roots of its complete subtrees, largest first.
ledger_frontier = Table("ledger_frontier", metadata, _counted("id"), _number("size"), _bytes("hashes"))

# Roots of complete subtrees of 256 leaves, of 65,536, and so on.
ledger_nodes = Table("ledger_nodes", metadata, _counted("level"), _counted("position"), _bytes("hash"))

# Tool calls that ended, by UTC day (days since the epoch) and outcome.
tool_calls = Table("tool_calls", metadata, _counted("day"), _key("outcome"), _number("calls"))

# Tool calls that began and did not end yet; ``call`` is the SHA-256 of the agent's id of it.
open_calls = Table("open_calls", metadata, _key("session"), _key("call"))

tasks = Table(
    "tasks",
    metadata,
    _counted("number"),
    _text("id"),
    _text("repo"),
    _text("agent"),
    _text("machine"),
    _text("prompt"),
    _text("mode"),
    _text("state"),
    _text("why"),
    _text("requester"),
    _text("adapter"),
    _text("chat"),
    _text("thread"),
    _number("created_us"),
    _number("updated_us"),
    _text("retry_of"),
    _text("stop_by"),
    UniqueConstraint("id"),
    Index(None, "state"),
    Index(None, "retry_of", "number"),
    Index(None, "adapter", "chat", "number"),
    Index(None, "updated_us"),
)

sessions = Table(
    "sessions",
    metadata,
    _key("id"),
    _of("task", "tasks.id"),
    _number("number"),
    _text("machine"),
    _text("agent"),
    _text("base"),
    _text("workspace"),
    _text("isolation"),
    _text("conversation"),
    _number("pipes"),
    _text("pipe"),
    _text("pipe_end"),
    _flag("one_turn"),
    _text("nonce"),
    _number("spool_offset"),
    _text("driver_state"),
    _text("resume"),
    _number("started_us"),
    _number("ended_us"),
    _number("seen_us"),
    UniqueConstraint("task", "number"),
    Index(None, "ended_us"),
)

turns = Table(
    "turns",
    metadata,
    _key("id"),
    _of("session", "sessions.id"),
    _number("number"),
    _text("pipe"),
    _text("cause"),
    _text("prompt"),
    _text("claim"),
    _text("snapshot"),
    _text("tree"),
    _number("started_us"),
    _number("ended_us"),
    _added_text("outcome"),
    _added_text("error"),
    _added_text("exit"),
    UniqueConstraint("session", "number"),
)

# Bytes that the controller has decided to send, per pipe, because each process reads its own input from 0.
inputs = Table(
    "inputs",
    metadata,
    _serial(),
    _text("pipe"),
    _number("position"),
    _bytes("data"),
    _flag("eof"),
    Index(None, "pipe", "position"),
)

notes = Table(
    "notes",
    metadata,
    _serial(),
    _of("session", "sessions.id"),
    _text("text"),
    _text("actor"),
    _number("at_us"),
    _number("taken_us"),
    Index(None, "session", "taken_us"),
)

approvals = Table(
    "approvals",
    metadata,
    _counted("number"),
    _text("id"),
    _text("kind"),
    _text("task"),
    _text("session"),
    _text("ask"),
    _text("tool"),
    _text("request"),
    _text("command"),
    _text("paths"),
    _text("commit"),
    _text("tree"),
    _text("reason"),
    _number("opened_us"),
    _number("expires_us"),
    _text("decision"),
    _text("decided_by"),
    _text("decided_why"),
    _number("decided_us"),
    _number("taken_us"),
    _added_text("directory"),
    _added_text("questions"),
    _added_text("scope"),
    _added_number("pinged_us"),
    _added_number("reminded_us"),
    UniqueConstraint("id"),
    Index(None, "decision"),
    Index(None, "session", "taken_us"),
    Index(None, "task"),
)

gate_runs = Table(
    "gate_runs",
    metadata,
    _key("id"),
    _text("task"),
    _text("session"),
    _text("turn"),
    _text("gate"),
    _text("commit"),
    _text("tree"),
    _text("base"),
    _number("round"),
    _text("argv"),
    _text("definition_sha256"),
    _text("machine"),
    _text("nonce"),
    _text("pipe"),
    _number("opened_us"),
    _number("closed_us"),
    _text("result"),
    Index(None, "commit", "round"),
    Index(None, "turn", "gate"),
    Index(None, "task"),
    Index(None, "closed_us"),
)

landings = Table(
    "landings",
    metadata,
    _serial(),
    _text("task"),
    _text("repo"),
    _text("ref"),
    _text("old"),
    _text("new"),
    _text("tree"),
    _text("fence"),
    _number("token"),
    _text("outcome"),
    _number("intended_us"),
    _number("finished_us"),
    Index(None, "repo", "outcome"),
    Index(None, "task"),
)

leases = Table(
    "leases",
    metadata,
    _key("name"),
    _text("holder"),
    _number("token"),
    _number("expires_us"),
    _added_text("boot"),
    _added_number("since_us"),
    _added_number("lasts_us"),
)

# Who holds locks: one lease each ("lock:" and the id). Rows of tasks stay for a while after their end.
holds = Table(
    "holds",
    metadata,
    _key("id"),
    _text("holder"),
    _text("task"),
    _text("secret_sha256"),
    _number("since_us"),
    _number("ended_us"),
    _text("end"),
    Index(None, "ended_us"),
    Index(None, "task"),
)

# The resources of a hold. ``head``: the directory in which everything is that a path's pattern names.
locks = Table(
    "locks",
    metadata,
    _key("scope"),
    _counted("token"),
    _of("hold", "holds.id"),
    _text("name"),
    _text("repo"),
    _text("head"),
    _text("mode"),
    _text("cause"),
    _number("since_us"),
    _number("ended_us"),
    Index(None, "hold"),
    Index(None, "scope", "ended_us", "head"),
)

# The last fencing token of each scope; it only grows.
lock_tokens = Table("lock_tokens", metadata, _key("scope"), _number("token"))

inbox = Table(
    "inbox",
    metadata,
    _serial(),
    _text("adapter"),
    _text("update_id"),
    _bytes("payload"),
    _text("state"),
    _text("why"),
    _number("received_us"),
    _number("settled_us"),
    _added_text("outcome"),
    UniqueConstraint("adapter", "update_id"),
    Index(None, "state", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    _serial(),
    _text("kind"),
    _text("adapter"),
    _text("chat"),
    _text("thread"),
    _text("card_key"),
    _number("put"),
    _text("card_json"),
    _flag("ping"),
    _number("priority"),
    _text("task"),
    _text("state"),
    _flag("again"),
    _number("attempts"),
    _number("not_before_us"),
    _text("message_id"),
    _text("why"),
    _number("created_us"),
    _number("settled_us"),
    Index(None, "adapter", "state", "id"),
    Index(None, "put", "state"),
    Index(None, "adapter", "chat", "message_id"),
)

# Where a card lives now: the outbox row that posted it and, once that was delivered, the platform's message id.
cards = Table(
    "cards",
    metadata,
    _key("card_key"),
    _key("adapter"),
    _key("chat"),
    _key("thread"),
    _number("put"),
    _text("message_id"),
    Index(None, "put"),
    Index(None, "adapter", "chat"),
)

# How the key of a card begins that has one only so that its buttons can be taken away.
LOOSE = "buttons:"

# Buttons: an opaque token stands for a command line.
actions = Table(
    "actions",
    metadata,
    _key("token"),
    _text("adapter"),
    _text("chat"),
    _text("command"),
    _text("digest"),
    _text("person"),
    _flag("once"),
    _number("created_us"),
    _number("expires_us"),
    _number("used_us"),
    _text("used_by"),
    _added_number("put"),
    Index(None, "adapter", "chat", "command"),
    Index(None, "command", "put", "created_us"),
)

# Files that people sent with their words: with a task's request (note 0) or with a later note of theirs.
attachments = Table(
    "attachments",
    metadata,
    _serial(),
    _text("task"),
    _number("note"),
    _text("name"),
    _text("path"),
    _text("media_type"),
    _number("size"),
    Index(None, "task", "note"),
)
