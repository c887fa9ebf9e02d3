"""The messages of a change's commits as a reviewer is shown them: data beside the diff, each line with a number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from fleet.git.messages import CommitMessage, messages
from fleet.git.repository import Repository
from gates.review.shown import redact_lines, visible

IN_COMMIT_TEXT: Final = "(commit messages)"
"""What a finding about a line of them names as its file."""
_MOST_SHOWN: Final = 32_000
_MOST_IN_A_LINE: Final = 2_000


async def commit_text(
    repository: Repository, base: str, commit: str, *, limit: int, redact: Callable[[str], str] | None
) -> list[str]:
    """The lines of all messages after ``base`` up to ``commit``, the oldest first, without secrets.

    Of long ones only the beginning: at most a quarter of ``limit``, what the reviewer reads of a diff. What is left
    out is said.
    """
    found = await messages(repository, base, commit)
    return await asyncio.to_thread(_shown, found, min(_MOST_SHOWN, limit // 4), redact)


def numbered(lines: Sequence[str]) -> str:
    """The lines, each with its number."""
    return "\n".join(f"{number:>6} | {line}" for number, line in enumerate(lines, 1)) or "(none)"


def _shown(found: Sequence[CommitMessage], most: int, redact: Callable[[str], str] | None) -> list[str]:
    lines = []
    for message in found:
        rows = (message.text or b"").rstrip(b"\n").split(b"\n")
        lines.append(f"commit {message.commit[:12]}")
        lines += [f"    {visible(row)}" for row in rows] if message.text is not None else ["(too long to be shown)"]
    # Masked before it is cut: half a secret looks like none.
    lines = redact_lines(lines, redact) if redact else lines
    kept, size = list[str](), 0
    for line in lines:
        short = line if len(line) <= _MOST_IN_A_LINE else f"{line[:_MOST_IN_A_LINE]}… (the rest is not shown)"
        size += len(short.encode("utf-8", "backslashreplace")) + 1
        if size > most:
            return [*kept, f"({len(lines) - len(kept)} more lines are not shown)"]
        kept.append(short)
    return kept
