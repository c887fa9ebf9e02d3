"""``[backup]`` of ``fleet.toml``: copies of the home, by schedule."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from fleet.config.limits import SECTION
from fleet.config.values import BACKUP_PATTERN, LongDuration


class BackupConfig(BaseModel):
    """When the controller copies its home, where to, and how many copies stay."""

    model_config = SECTION

    directory: Annotated[str, StringConstraints(pattern=BACKUP_PATTERN)] = ""
    """An absolute path, on another disk if possible. Empty: no backups by schedule."""
    every: LongDuration = "24h"
    """How old the newest one may become."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 7
    """How many of them stay."""
