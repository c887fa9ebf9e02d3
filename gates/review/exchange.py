"""What a reviewer is asked and what it answers: the types, and why there may be no review."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from fleet.errors import Unavailable
from fleet.untrusted import clean, shortened

_REASON_LIMIT: Final = 1_000
_MOST_FINDINGS: Final = 200


class WhyNone(StrEnum):
    """Why there is no review. None of them passes a change."""

    NOT_CONFIGURED = "not configured"
    AUTHOR_UNKNOWN = "author's family unknown"
    SAME_FAMILY = "same family"
    SWAPPED = "another model answered"
    NOT_PINNED = "not pinned"
    TOO_LARGE = "too large"
    BINARY = "binary"
    UNREACHABLE = "unreachable"
    BUSY = "busy"
    MALFORMED = "malformed answer"
    NOT_READ_WHOLE = "not read whole"
    MISSED_DEFECT = "missed the planted defect"


#: Asking again may help.
PASSING: Final = frozenset({WhyNone.UNREACHABLE, WhyNone.BUSY, WhyNone.MALFORMED})


class NoReview(Unavailable):
    """There is no review, so the gate does not pass."""

    def __init__(self, why: WhyNone, cause: str, hint: str = "") -> None:
        self.why = why
        super().__init__(attempted="get a review", cause=cause, hint=hint)


class RemarkSeverity(StrEnum):
    """``BLOCKING`` is an objection; ``MINOR`` is a remark."""

    BLOCKING = "blocking"
    MINOR = "minor"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that the reviewer found. ``line`` is 0 for the whole file. All text is untrusted."""

    file: str
    line: int
    severity: RemarkSeverity
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.reason}"


class _RawRemark(msgspec.Struct, forbid_unknown_fields=True):
    file: str
    line: int
    severity: RemarkSeverity
    reason: str


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    seen: list[str]
    findings: list[_RawRemark]


_DECODER: Final = msgspec.json.Decoder(_Answer)

#: The JSON Schema that an endpoint is asked to enforce. The answer is checked here all the same.
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["seen", "findings"],
    "properties": {
        "seen": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["file", "line", "severity", "reason"],
                "properties": {
                    "file": {"type": "string"},
                    "line": {"type": "integer"},
                    "severity": {"type": "string", "enum": [str(each) for each in RemarkSeverity]},
                    "reason": {"type": "string"},
                },
            },
        },
    },
}


def read_answer(text: str, marks: tuple[str, str]) -> list[Remark]:
    """The findings in a model's answer. Raises ``NoReview`` for everything that is not exactly the schema.

    ``marks`` are the random words before and after the change: a model that repeats both was sent all of it.
    """
    try:
        answer = _DECODER.decode(text.strip().encode("utf-8", "replace"))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise NoReview(
            WhyNone.MALFORMED, f"the answer is not in the required form: {clean(str(error), 200)}"
        ) from None
    if tuple(answer.seen) != marks:
        cause = "the answer does not repeat the marks before and after the change"
        raise NoReview(WhyNone.NOT_READ_WHOLE, cause, "Give the model a longer context, or lower `diff_bytes`.")
    if len(answer.findings) > _MOST_FINDINGS:
        raise NoReview(WhyNone.MALFORMED, f"the answer has more than {_MOST_FINDINGS} findings")
    return [
        Remark(each.file, each.line, each.severity, shortened(" ".join(clean(each.reason).split()), _REASON_LIMIT))
        for each in answer.findings
    ]
