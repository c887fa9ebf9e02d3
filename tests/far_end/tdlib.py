"""TDLib, whose parser decides in every client of Telegram what becomes a link. npm fetches it on first use."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path
from typing import Final

VERSION: Final = "0.1008065.0"
PACKAGE: Final = "@prebuilt-tdlib/linux-x64-glibc"


class Tdlib:
    """Runs without an account: only calls that TDLib answers at once."""

    def __init__(self, cache: Path) -> None:
        library = cache / "node_modules" / PACKAGE / "libtdjson.so"
        if not library.exists():
            cache.mkdir(parents=True, exist_ok=True)
            asked = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(cache), f"{PACKAGE}@{VERSION}"]
            subprocess.run(asked, check=True, timeout=300)
        self._library = ctypes.CDLL(str(library))
        self._library.td_execute.restype = ctypes.c_char_p
        self._library.td_execute.argtypes = [ctypes.c_char_p]
        self._call({"@type": "setLogVerbosityLevel", "new_verbosity_level": 0})

    def live(self, text: str) -> list[str]:
        """The kinds of what a client would make active in a plain text."""
        found = self._call({"@type": "getTextEntities", "text": text})["entities"]
        return [entity["type"]["@type"] for entity in found]

    def _call(self, request: dict[str, object]) -> dict[str, list[dict[str, dict[str, str]]]]:
        answer: dict[str, list[dict[str, dict[str, str]]]] = json.loads(
            self._library.td_execute(json.dumps(request).encode())
        )
        return answer
