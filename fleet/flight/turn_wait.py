"""Why a follower no longer waits for the end of a turn."""

from __future__ import annotations

from enum import Enum, auto


class TurnWait(Enum):
    """Why waiting for the end of a turn ended."""

    OVER = auto()  # the turn, or its process, has ended; the store has the turn's outcome
    STOPPED = auto()  # a person asked for a stop
    ANEW = auto()  # it was silent, and a person wants it to go on in a new process
    HALTED = auto()  # it may not go on: a budget is used up, or it makes no progress
    UNANSWERED = auto()  # the agent only waits, and nobody has answered it for a while
