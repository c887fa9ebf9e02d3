"""Where one controller keeps everything: ``AIRBOSS_HOME``."""

from __future__ import annotations

import os
from pathlib import Path

FLEET_FILE = "fleet.toml"
SECRETS_FILE = ".env"
CONTROL_SOCKET = "control.sock"


def airboss_home(explicit: str = "") -> Path:
    """The controller's directory: ``explicit``, else ``AIRBOSS_HOME``, else ``~/.airboss-home``; absolute.

    It need not exist yet. ``fleet.toml``, ``.env`` and ``control.sock`` live in it.
    """
    chosen = explicit or os.environ.get("AIRBOSS_HOME", "") or "~/.airboss-home"
    return Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100 - resolve() would follow symlinks
