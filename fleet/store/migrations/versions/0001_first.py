"""The first schema, and the triggers that keep the ledger append-only for every connection."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import BIG, blobs, counted, create, flags, index, numbers, texts

revision = "0001"
down_revision = None


_APPEND_ONLY_SQLITE = (
    """
    CREATE TRIGGER ledger_dense BEFORE INSERT ON ledger
    WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM ledger)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only and its sequence has no gaps'); END
    """,
    """
    CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
    """,
    """
    CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
    """,
)

_APPEND_ONLY_POSTGRESQL = (
    """
    CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$
    """,
    """
    CREATE FUNCTION ledger_dense() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM ledger) THEN
            RAISE EXCEPTION 'the ledger is append-only and its sequence has no gaps'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER ledger_dense BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_dense()",
    """
    CREATE TRIGGER ledger_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()
    """,
)


def upgrade() -> None:
    create(
        "actions",
        *texts("token", "adapter", "chat", "command", "digest", "person"),
        *flags("once"),
        *numbers("created_us", "expires_us", "used_us"),
        *texts("used_by"),
        key=["token"],
    )
    index("actions", "adapter", "chat", "command")
    create(
        "approvals",
        counted("number"),
        *texts("id", "kind", "task", "session", "ask", "tool"),
        *texts("request", "command", "paths", "commit", "tree", "reason"),
        *numbers("opened_us", "expires_us"),
        *texts("decision", "decided_by", "decided_why"),
        *numbers("decided_us", "taken_us"),
        sa.UniqueConstraint("id", name=op.f("uq_approvals_id")),
        key=["number"],
    )
    index("approvals", "decision")
    index("approvals", "session", "taken_us")
    index("approvals", "task")
    create(
        "cards",
        *texts("card_key", "adapter", "chat", "thread"),
        *numbers("put"),
        *texts("message_id"),
        key=["card_key", "adapter", "chat", "thread"],
    )
    create(
        "gate_runs",
        *texts("id", "task", "session", "turn", "gate", "commit", "tree", "base"),
        *numbers("round"),
        *texts("argv", "definition_sha256", "machine", "nonce", "pipe"),
        *numbers("opened_us", "closed_us"),
        *texts("result"),
        key=["id"],
    )
    index("gate_runs", "closed_us")
    index("gate_runs", "commit", "round")
    create(
        "inbox",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        *texts("adapter", "update_id"),
        *blobs("payload"),
        *texts("state", "why"),
        *numbers("received_us", "settled_us"),
        sa.UniqueConstraint("adapter", "update_id", name=op.f("uq_inbox_adapter_update_id")),
        key=["id"],
    )
    index("inbox", "state", "id")
    create(
        "inputs",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        *texts("pipe"),
        *numbers("position"),
        *blobs("data"),
        *flags("eof"),
        key=["id"],
    )
    index("inputs", "pipe", "position")
    create(
        "landings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        *texts("task", "repo", "ref", "old", "new", "tree", "fence"),
        *numbers("token"),
        *texts("outcome"),
        *numbers("intended_us", "finished_us"),
        key=["id"],
    )
    index("landings", "repo", "outcome")
    index("landings", "task")
    create("leases", *texts("name", "holder"), *numbers("token", "expires_us"), key=["name"])
    create(
        "ledger",
        counted("seq"),
        *texts("id"),
        *numbers("time_us"),
        *texts("kind"),
        *numbers("v"),
        *texts("actor", "task", "session", "turn", "gate_run", "machine", "source"),
        *blobs("canonical", "leaf"),
        key=["seq"],
    )
    index("ledger", "kind", "seq")
    index("ledger", "task", "seq")
    create("meta", *texts("key", "value"), key=["key"])
    create(
        "outbox",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        *texts("kind", "adapter", "chat", "thread", "card_key"),
        *numbers("put"),
        *texts("card_json"),
        *flags("ping"),
        *numbers("priority"),
        *texts("task", "state"),
        *flags("again"),
        *numbers("attempts", "not_before_us"),
        *texts("message_id", "why"),
        *numbers("created_us", "settled_us"),
        key=["id"],
    )
    index("outbox", "adapter", "chat", "message_id")
    index("outbox", "adapter", "state", "id")
    index("outbox", "put", "state")
    create("settings", *texts("key", "value"), key=["key"])
    create(
        "tasks",
        counted("number"),
        *texts("id", "repo", "agent", "machine", "prompt", "mode"),
        *texts("state", "why", "requester", "adapter", "chat", "thread"),
        *numbers("created_us", "updated_us"),
        *texts("retry_of", "stop_by"),
        sa.UniqueConstraint("id", name=op.f("uq_tasks_id")),
        key=["number"],
    )
    index("tasks", "state")
    create(
        "sessions",
        *texts("id", "task"),
        *numbers("number"),
        *texts("machine", "agent", "base", "workspace", "isolation", "conversation"),
        *numbers("pipes"),
        *texts("pipe", "pipe_end"),
        *flags("one_turn"),
        *texts("nonce"),
        *numbers("spool_offset"),
        *texts("driver_state", "resume"),
        *numbers("started_us", "ended_us", "seen_us"),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_sessions_task")),
        sa.UniqueConstraint("task", "number", name=op.f("uq_sessions_task_number")),
        key=["id"],
    )
    index("sessions", "ended_us")
    create(
        "notes",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        *texts("session", "text", "actor"),
        *numbers("at_us", "taken_us"),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_notes_session")),
        key=["id"],
    )
    index("notes", "session", "taken_us")
    create(
        "turns",
        *texts("id", "session"),
        *numbers("number"),
        *texts("pipe", "cause", "prompt", "claim", "snapshot", "tree"),
        *numbers("started_us", "ended_us"),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_turns_session")),
        sa.UniqueConstraint("session", "number", name=op.f("uq_turns_session_number")),
        key=["id"],
    )

    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _APPEND_ONLY_SQLITE if sqlite else _APPEND_ONLY_POSTGRESQL:
        op.execute(statement)
