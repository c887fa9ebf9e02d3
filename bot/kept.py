"""What Airboss keeps, where, and for how long. ``docs/retention.md`` shows this table; a test compares the two, and
compares it with the store's tables and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PERMANENT: Final = "permanently"


@dataclass(frozen=True, slots=True)
class Retained:
    """``places``: tables of the store, and paths under AIRBOSS_HOME or (with ``~/.airboss``) on a machine.
    ``limit``: the setting in ``[limits]`` that ends it, or ``PERMANENT``, or words. ``but``: what stays longer."""

    what: str
    places: tuple[str, ...]
    limit: str
    but: str = ""


KEPT: Final = (
    Retained(
        "The ledger: all events, their tree, their figures",
        (
            *("ledger", "ledger_frontier", "ledger_nodes", "tool_calls", "open_calls"),
            *("usage", "unpriced_usage", "budget_grants", "imported"),
            *("figure_segments", "figure_calls", "figure_amounts", "figure_sessions", "figure_days"),
            *("figure_gates", "figure_unfinished", "figure_late"),
        ),
        PERMANENT,
    ),
    Retained(
        "What people, agents and tools said, where the ledger has its hash",
        ("contents",),
        "spool_retention_days",
    ),
    Retained(
        "Tasks, sessions, turns, questions, messages to agents, gate runs, landings",
        (
            *("tasks", "sessions", "turns", "notes", "approvals", "gate_runs", "landings"),
            *("trees", "merges", "halts", "repeats", "takeovers"),
        ),
        PERMANENT,
    ),
    Retained(
        "Schedules, pauses, settings, whose turn it is in the queue",
        ("schedules", "slots", "pauses", "settings", "meta", "served"),
        PERMANENT,
    ),
    Retained("Places in the landing queue", ("landing_places",), "until the change has landed or left the queue"),
    Retained("Where base branches were last seen", ("base_tips",), "permanently"),
    Retained("Sessions started by hand, as their hooks report them", ("hooked",), PERMANENT),
    Retained(
        "Processes on machines that are away, to be ended",
        ("left_running",),
        "until they have ended",
    ),
    Retained("Slots kept for tasks that start", ("reservations",), "until they have started or ended"),
    Retained("Slots of pools, ended ones too", ("pool_slots",), PERMANENT),
    Retained("Receipts and keys", ("receipts/", "keys/", "pinned/"), PERMANENT),
    Retained("Signed checkpoints", ("checkpoints/",), "the newest 2,000"),
    Retained("Controllers, as they were last seen", ("controllers",), "for a day, or until they end in order"),
    Retained("Which controller leads a task", ("leads",), "until the task has ended and is closed"),
    Retained("Leases", ("leases",), "until they are released"),
    Retained("How often each lock was given", ("lock_tokens",), "permanently"),
    Retained(
        "Locks that tasks gave back",
        ("locks", "holds"),
        "spool_retention_days",
        "those since the oldest open session began",
    ),
    Retained(
        "Messages received: their text",
        ("inbox", "sent_messages"),
        "chat_retention_days",
        "the message's id stays, so that a redelivery does nothing",
    ),
    Retained(
        "Cards sent: their text",
        ("outbox", "cards"),
        "chat_retention_days",
        "live cards, open tasks; message ids stay, so that replies find their task",
    ),
    Retained("Buttons that nobody can press any more", ("actions",), "chat_retention_days"),
    Retained(
        "Files that people sent, and our documents",
        ("attachments", "files/"),
        "chat_retention_days",
        "open tasks, unsent and unhandled messages",
    ),
    Retained(
        "Input that was sent to agents' processes",
        ("inputs",),
        "spool_retention_days",
        "open tasks, work that did not land",
    ),
    Retained(
        "What agents and gates wrote",
        ("~/.airboss/pipes/",),
        "spool_retention_days",
        "open tasks, work that did not land",
    ),
    Retained(
        "Output of gates, and results of the base to compare with",
        ("gates/RUN.log", "gates/baselines/"),
        "gate_log_days",
        "open tasks, work that did not land (logs)",
    ),
    Retained(
        "Files that controllers share through PostgreSQL: commits of ours, and the kinds that this table has",
        ("blobs", "blob_chunks", "blob_names"),
        "gate_log_days",
        "open tasks, work that did not land; each kind as its files",
    ),
    Retained(
        "What a reviewer read and answered", ("gates/RUN.review.json",), PERMANENT, "a receipt names its digest"
    ),
    Retained(
        "Objects of Git LFS on machines",
        ("~/.airboss/lfs/",),
        "14 days after their last use",
        "the controller has them",
    ),
    Retained(
        "Environments that setups made",
        ("~/.airboss/setup/",),
        "14 days after their last use",
        "they are built again",
    ),
    Retained(
        "Checkouts that gates use again",
        ("~/.airboss/trees/",),
        "14 days after their last use; four a repository",
        "they are filled again",
    ),
    Retained(
        "Worktrees of tasks that did not land",
        ("~/.airboss/work/",),
        "workspace_retention",
        "work that is not safe as a snapshot, open tasks",
    ),
    Retained(
        "Snapshots of work that did not land",
        ("repos/NAME.git: refs/airboss/kept/",),
        "until it lands or a person deletes it",
    ),
    Retained("Objects of a repository", ("repos/",), PERMANENT, "receipts verify against them"),
    Retained("The log", ("airboss.log",), "at most four files of 5 MB"),
)
