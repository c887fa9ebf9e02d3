"""What is left of the accounts that agents use, as they last reported it: a window for each of the vendor's limits.

An account is an agent of ``fleet.toml`` on a machine: that is where its login is.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from fleet.agent_events import TurnEnded, TurnOutcome, Window
from fleet.agents.resets import resets_us
from fleet.model import Session
from fleet.store.chat import settings
from fleet.store.core import Tx

LOW_PERCENT: Final = 20
_PREFIX: Final = "window:"
_LIMIT: Final = "usage limit"
_OF_A_MODEL: Final = re.compile(r"\b(opus|sonnet|haiku|model)\b", re.IGNORECASE)
"""A limit of one model is none of the account's."""
_UNKNOWN_LASTS_US: Final = 5 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class AccountWindow:
    """``used_percent`` of the window ``name`` was used at ``seen_us``. ``resets_us`` is 0 when it was not said."""

    agent: str
    machine: str
    name: str
    used_percent: int
    resets_us: int
    seen_us: int

    @property
    def left_percent(self) -> int:
        """What is left."""
        return max(0, 100 - self.used_percent)


def note(tx: Tx, session: Session, seen: Window) -> None:
    """Keeps what an agent reported."""
    found = AccountWindow(session.agent, session.machine, seen.name, seen.used_percent, seen.resets_us, tx.now_us())
    key = f"{_PREFIX}{found.agent}:{found.machine}:{found.name}"
    settings.put(tx, key, json.dumps(asdict(found), separators=(",", ":")))


def turn_ended(tx: Tx, session: Session, ended: TurnEnded) -> None:
    """Keeps an account's limit that only the words of a turn's end tell, until its hour or a turn that works."""
    if ended.outcome is TurnOutcome.LIMITED:
        until = 0 if _OF_A_MODEL.search(ended.error) else resets_us(ended.error, tx.now_us())
        if until and (session.agent, session.machine) not in spent(tx):
            note(tx, session, Window(_LIMIT, 100, until))
    elif ended.completed:
        settings.put(tx, f"{_PREFIX}{session.agent}:{session.machine}:{_LIMIT}", "")


def spent(tx: Tx) -> dict[tuple[str, str], str]:
    """The accounts of which nothing is left, by agent and machine, with the hour at which there is more."""
    now = tx.now_us()
    used_up = [each for each in _every(tx) if each.used_percent >= 100 and each.resets_us > now]
    used_up.sort(key=lambda each: each.resets_us)
    return {(each.agent, each.machine): f"{_clock(each.resets_us)} UTC" for each in used_up}


def _every(tx: Tx) -> list[AccountWindow]:
    return [AccountWindow(**json.loads(text)) for text in settings.beginning(tx, _PREFIX).values()]


def _clock(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%d %b %H:%M")


def low(tx: Tx) -> list[AccountWindow]:
    """The windows of which less than a fifth is left, until they are reset; the lowest first."""
    now = tx.now_us()
    open_ = [each for each in _every(tx) if (each.resets_us or each.seen_us + _UNKNOWN_LASTS_US) > now]
    return sorted((each for each in open_ if each.left_percent < LOW_PERCENT), key=lambda each: each.left_percent)
