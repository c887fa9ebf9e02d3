"""Ids as people type them: ``#T7!`` is ``t7``; and what an id of another kind is."""

from __future__ import annotations

import re
from typing import Final

_AROUND: Final = " \t\r\n#@()[]<>.,;:!?…*`_\"'"
_KINDS: Final = {
    "t": "{0} is a task: /session {0}",
    "s": "{0} is a schedule: /schedules {0}",
    "a": "{0} is a request: /waiting {0}",
    "h": "{0} is a session by hand: /adopt {0} WORDS",
}


def plain_id(typed: str) -> str:
    """The id without what a phone's keyboard puts around it."""
    return typed.strip(_AROUND).lower()


def of_another_kind(typed: str, kind: str) -> str:
    """What to write about an id that was given where a ``kind`` is meant, by its letter; empty: it looks like
    none."""
    wanted = plain_id(typed)
    if wanted.startswith(kind) or not re.fullmatch(r"[tsah]\d{1,9}", wanted):
        return ""
    return _KINDS[wanted[0]].format(wanted)
