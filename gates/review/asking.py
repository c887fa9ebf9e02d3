"""One review: the question, the answer, and what they amount to. Reads and writes nothing of ours."""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fleet.config import ReviewerConfig
from gates.review.commit_text import IN_COMMIT_TEXT, numbered
from gates.review.defects import DefectKind, Planted, plant
from gates.review.endpoint import Endpoint, ModelReply
from gates.review.exchange import NoReview, Remark, WhyNone, read_answer
from gates.review.independence import SeenReviewer, check_answerer
from gates.review.prompt import ReviewQuestion
from gates.review.shown import ShownFile, render

_WORDS: Final = 4


@dataclass(frozen=True, slots=True)
class PreparedReview:
    """A question that is ready to be sent, and the defect in its copy of the change.

    ``commit_lines``: how many lines of its commits' messages are shown.
    """

    body: bytes
    planted: Planted
    words: tuple[str, str]
    messages: tuple[dict[str, str], ...] = ()
    commit_lines: int = 0

    @property
    def sha256(self) -> str:
        """The digest of what is sent."""
        return hashlib.sha256(self.body).hexdigest()


Ask = Callable[[PreparedReview], Awaitable[ModelReply]]
"""Sends a question and returns the answer. Raises ``NoReview``."""


@dataclass(frozen=True, slots=True)
class Review:
    """A review. ``reply`` and ``answered`` are ``None`` where it did not come so far; ``caught`` as well, for
    the planted defect. ``none`` says why there is no review; ``None``: there is one."""

    planted: DefectKind
    reply: ModelReply | None = None
    answered: SeenReviewer | None = None
    caught: bool | None = None
    findings: tuple[Remark, ...] = ()
    none: NoReview | None = None


def prepare(
    reviewer: ReviewerConfig,
    files: list[ShownFile],
    task: str,
    results: str,
    chance: random.Random | None = None,
    *,
    commits: Sequence[str] = (),
) -> PreparedReview:
    """The question about a change; ``commits`` are the lines of its commits' messages.

    Raises ``NoReview`` when the change is too large to be shown whole.
    """
    size = len(render(files).encode())
    if size > reviewer.diff_bytes:
        cause = f"the change is {size} bytes as shown, and this reviewer reads {reviewer.diff_bytes}"
        raise NoReview(WhyNone.TOO_LARGE, cause, "Split the change, or raise `diff_bytes`.")
    planted = plant(files, chance or secrets.SystemRandom())
    words = (secrets.token_hex(_WORDS), secrets.token_hex(_WORDS))
    question = ReviewQuestion(task, results, numbered(commits), render(planted.files), secrets.token_hex(16), words)
    return PreparedReview(question.body(reviewer.model), planted, words, tuple(question.messages()), len(commits))


async def ask(
    reviewer: ReviewerConfig,
    key: str,
    prepared: PreparedReview,
    *,
    author: str,
    allow_asserted: bool = True,
    redact: Callable[[str], str] | None = None,
    through: Ask | None = None,
) -> Review:
    """Sends the question and reads the answer, by the reviewer's endpoint or ``through`` an agent. Never raises
    ``NoReview``: the review says so instead."""
    review = Review(prepared.planted.kind)
    try:
        reply = await (through(prepared) if through else Endpoint(reviewer, key).ask(prepared.body))
        if redact:
            reply = replace(reply, text=redact(reply.text))
        review = replace(review, reply=reply)
        answered = check_answerer(reviewer, reply, author, allow_asserted=allow_asserted)
        review = replace(review, answered=answered)
        found = [_placed(finding, prepared) for finding in read_answer(reply.text, prepared.words)]
        caught = prepared.planted.caught(found)
        review = replace(review, caught=caught)
        if not caught:
            raise NoReview(
                WhyNone.MISSED_DEFECT, f"the reviewer missed the planted defect ({prepared.planted.kind})"
            )
        return replace(review, findings=tuple(prepared.planted.without(found)))
    except NoReview as error:
        return replace(review, none=error)


def _placed(finding: Remark, prepared: PreparedReview) -> Remark:
    """A finding whose file is shown, or about a commit message. One whose line is not shown is about the whole."""
    for file in prepared.planted.files:
        if finding.file == file.path:
            return finding if finding.line in file.numbers() else replace(finding, line=0)
    if finding.file == IN_COMMIT_TEXT and prepared.commit_lines:
        return finding if 0 < finding.line <= prepared.commit_lines else replace(finding, line=0)
    raise NoReview(WhyNone.MALFORMED, "the answer names a file that the change does not have")
