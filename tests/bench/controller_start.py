"""How long `airboss serve` takes until it answers, against importing the libraries that it imports.

The home exists: its store is there, with the schema of this version. The base is a Python that imports, by name,
each module from outside this code base and the standard library that a serving controller has imported. Without a
chat, and with Telegram.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.bench.harness import Comparison, command, compare, report
from tests.bench.serving import AIRBOSS, serving
from tests.far_end.bot_api import TOKEN, BotApi

BAR: Final = 1.3
PATIENCE_SECONDS: Final = 60.0
FLEET: Final = """
isolation = "unsafe-same-user"

[machines.here]
executor = "local"
home = "{home}"

[agents.echo]
driver = "command"
program = ["cat"]

[repos.empty]
url = "{home}/empty.git"
agent = "echo"
"""
#: What a controller has imported once it serves, and what of that is not ours or Python's.
LIBRARIES: Final = """
import asyncio, sys
from pathlib import Path
import bot.cli, bot.local.serving, bot.app
ours = {"bot", "fleet", "gates", "__main__"} | set(sys.stdlib_module_names)
async def served():
    async with bot.app.App.open(Path(sys.argv[1])):
        print("\\n".join(name for name in sys.modules if name.partition(".")[0] not in ours))
asyncio.run(served())
"""
IMPORT: Final = """
import contextlib, importlib, sys
for name in sys.argv[1].split():
    with contextlib.suppress(ImportError):  # one that only its own package may import
        importlib.import_module(name)
"""


def answers(home: Path) -> bool:
    """Whether a controller answers on this home's socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as door:
        door.settimeout(PATIENCE_SECONDS)
        door.connect(str(home / "control.sock"))
        door.sendall(json.dumps({"v": 1, "do": "status"}).encode() + b"\n")
        with door.makefile("rb") as lines:
            return any("end" in json.loads(line) for line in lines)
    return False


def ready(home: Path, env: Mapping[str, str]) -> float:
    """Seconds from the command to its first answer."""
    (home / "control.sock").unlink(missing_ok=True)
    started = time.perf_counter()
    server = subprocess.Popen(
        [AIRBOSS, "serve"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not answers(home):
            if server.poll() is not None or time.perf_counter() - started > PATIENCE_SECONDS:
                sys.exit("bench: `airboss serve` did not come up")
            time.sleep(0.002)
        return time.perf_counter() - started
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_SECONDS)


def started(name: str, secrets: str = "") -> Comparison:
    """One start against its libraries. ``secrets``: the home's .env."""
    with tempfile.TemporaryDirectory(prefix="airboss-bench-") as scratch:
        directory = Path(scratch)
        with serving(directory, FLEET.format(home=directory / "machine"), secrets) as served:
            home, env = served.home, dict(served.env)
        asked = [sys.executable, "-c", LIBRARIES, str(home)]
        names = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
        bare = command([sys.executable, "-c", IMPORT, " ".join(names)], env=dict(os.environ))
        ours = ("airboss serve, until it answers", lambda: ready(home, env))
        return compare(name, ours, (f"importing its {len(names)} library modules", bare), bar=BAR, rounds=9, warm=1)


def main() -> int:
    """Prints the ratios; exits 1 when one is above what is promised."""
    with BotApi() as api:
        telegram = f"AIRBOSS_TELEGRAM_TOKEN={TOKEN}\nAIRBOSS_TELEGRAM_API={api.url}\n"
        found = [started("a start without a chat"), started("a start with Telegram", telegram)]
        return report(found)


if __name__ == "__main__":
    sys.exit(main())
