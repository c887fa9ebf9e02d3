"""The controller's directory: ``AIRBOSS_HOME``."""

from __future__ import annotations

import os
from pathlib import Path

FLEET_FILE = "fleet.toml"
SECRETS_FILE = ".env"
CONTROL_SOCKET = "control.sock"


def airboss_home(explicit: str = "") -> Path:
    """The controller's directory: ``explicit``, else ``AIRBOSS_HOME``, else ``~/.airboss-home``; absolute.

    It may not exist yet. It holds ``fleet.toml``, ``.env`` and ``control.sock``.
    """
    chosen = explicit or os.environ.get("AIRBOSS_HOME", "") or "~/.airboss-home"
    return Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100 - resolve() would follow symlinks
