"""The Slack settings of ``.env``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """The Slack settings of ``.env``. One of ``app_token`` and ``signing_secret`` is empty."""

    bot_token: str
    app_token: str
    signing_secret: str
    api: str
    listen: tuple[str, int]
    files: Path
