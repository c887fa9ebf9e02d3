"""``[limits]`` of ``fleet.toml``."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from fleet.config.values import LongDuration, Size

#: What every table of the two files has in common: unknown keys and wrong types are problems. What checks a table
#: is built when one is first read: most are read as part of their file, so theirs would be built for nothing.
SECTION: Final = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Limits(BaseModel):
    """Limits on how much is accepted."""

    model_config = SECTION

    decode_cap: Annotated[int, Field(ge=65536)] = 8 << 20
    """The longest agent line, in bytes, that is decoded; the rest is only in the spool."""
    snapshot_bytes: Annotated[int, Field(ge=1)] = 512 << 20
    """Bytes of objects in a snapshot."""
    snapshot_objects: Annotated[int, Field(ge=1)] = 200_000
    """Objects in a snapshot."""
    snapshot_paths: Annotated[int, Field(ge=1)] = 100_000
    """Paths in a snapshot."""
    unpack_seconds: Annotated[int, Field(ge=1)] = 120
    """The most seconds that unpacking a snapshot may take."""
    spool_retention_days: Annotated[int, Field(ge=1)] = 14
    """How many days a machine keeps an agent's output."""
    chat_retention_days: Annotated[int, Field(ge=1)] = 30
    """How many days chat messages, files and pressed buttons are kept; the ledger is kept permanently."""
    low_disk: Annotated[Size, Field(min_length=2)] = "2G"
    """Free disk below which a machine's safe worktrees are reclaimed and then no new task starts there."""
    gate_log_days: Annotated[int, Field(ge=1)] = 30
    """How many days the output of gates is kept here; the ledger has its digest permanently."""
    workspace_retention: LongDuration = "14d"
    """How long the worktree of a task that did not land stays once its work is safe as a snapshot here."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often a lost or unavailable gate run is tried in all."""
    person_slots: Annotated[int, Field(ge=1)] | None = None
    """The most slots that one person's tasks hold at once. Left out: unlimited."""
    override_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 24
    """How long an override of a gate holds, unless the person says otherwise."""
    keep_locks_hours: Annotated[int, Field(ge=0)] = 2
    """Hours that a task keeps its locks while it waits for a person or an unreachable machine."""
    approval_hours: Annotated[int, Field(ge=1)] = 8
    """Hours until an unanswered question counts as no."""
    question_seconds: Annotated[int, Field(ge=1)] = 1_800
    """Seconds that an agent's unanswered question keeps its slot. Then its process ends, and the answer continues
    the conversation."""
    stalled_after: LongDuration = "10m"
    """How long a running agent may be silent, without an open tool call, before a person is asked."""
    background_seconds: Annotated[int, Field(ge=1)] = 60
    """Seconds that a finished turn waits for its background commands; then the agent is asked to end them."""
    overloaded_retries: Annotated[int, Field(ge=0, le=20)] = 4
    """How often a turn is tried again when the model did not answer, with growing pauses."""
    resume_after_limit: bool = False
    """Whether a task that waits for a provider's usage limit goes on at the reset hour without a person."""
    hold_days: Annotated[int, Field(ge=1, le=365)] = 7
    """Days until a held change that nobody released is refused; its work is kept."""
