"""The tools that tests' gates use from outside the system's directories, as ``fleet.toml`` names them."""

from __future__ import annotations

import sys
from pathlib import Path

GATE_TOOLS = {"gate_path": [str(Path(sys.executable).parent)], "gate_read": [sys.prefix, sys.base_prefix]}
