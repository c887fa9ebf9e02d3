"""What a process wrote last, for a turn that ended with it: an exit status alone says nothing to a person."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Final

from fleet.agent_events import Happening, TurnEnded, TurnOutcome
from fleet.errors import Unavailable
from fleet.excerpts import excerpt
from fleet.flight.testimony import with_limits
from fleet.ports import Ended, Executor
from fleet.untrusted import clean, whole_until

_TAIL: Final = 1 << 14
_LINES: Final = 3
_LINE: Final = 300
_PATIENCE_S: Final = 10.0
_KEY_ENDS: Final = "PRIVATE KEY-----"


async def added(executor: Executor, pipe: str, happened: Happening, ended: Ended) -> Happening:
    """``happened`` with the limits that the process had reached and, if it is a turn that failed, with the end of
    its standard error; where that is empty, of output that is no message. Best effort: a machine may be away."""
    if isinstance(happened, TurnEnded) and happened.outcome is TurnOutcome.FAILED and not ended.unavailable:
        words = ""
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                words = last_lines(await executor.tail(pipe, "err", _TAIL))
                if not words and not happened.claim:
                    words = last_lines(await executor.tail(pipe, "out", _TAIL))
        if words:
            happened = replace(happened, error=f"{happened.error}: {words}")
    return with_limits(happened, ended.reached)


def last_lines(tail: bytes) -> str:
    """The few lines that tell, in one. No line is cut within a word: whoever redacts it must know a secret."""
    text = tail.decode("utf-8", "replace")
    if len(tail) >= _TAIL:
        text = text.partition("\n")[2]  # the first line may be half of one
    text = text.rpartition(_KEY_ENDS)[2]  # nor is there half a key
    lines = (line.strip() for line in clean(text, len(text) + 1).split("\n"))
    telling = [line for line in lines if line and not line.startswith("{")]
    return " · ".join(line[: whole_until(line, _LINE)] for line in excerpt(telling, _LINES))
