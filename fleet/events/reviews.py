"""Events about reviews of a change by a model of another family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class ReviewFinding:
    """A finding about the change itself. All text is the reviewer's: untrusted."""

    file: str
    line: int
    severity: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReviewAsked(Event):
    """Recorded before the question is sent. ``request_sha256`` is of the whole request, which is kept beside the
    ledger."""

    KIND: ClassVar[str] = "review.asked"
    gate: str
    reviewer: str
    model: str
    author_family: str
    request_sha256: str
    request_bytes: int


@dataclass(frozen=True, slots=True)
class ReviewAnswered(Event):
    """How it ended. ``none`` says why there is no review, empty when there is one. ``planted`` is the kind of the
    planted defect; ``caught``: ``None`` when the answer could not show it."""

    KIND: ClassVar[str] = "review.answered"
    gate: str
    reviewer: str
    model: str
    families: tuple[str, ...]
    identity: str
    digest: str
    none: str
    reason: str
    planted: str
    caught: bool | None
    findings: tuple[ReviewFinding, ...]
    answer: str  # untrusted: cut and redacted
    answer_sha256: str
    duration_us: int
