"""Work as another login, which sudo lets a supervisor become: a run that cannot reach its supervisor."""

from __future__ import annotations

import os
import select
import struct
import sys
import time

from . import light_json as json
from .files import attempt, parse
from .start import START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .files import Json

FIRST_WORDS_SECONDS = 60.0
LONGEST_FIRST_LINE = 1 << 16
KILL = "import os, sys; os.getuid() and os.kill(-1, int(sys.argv[1]))"


def packed(image: bytes, order: Json) -> bytes:
    """What a part of the runner reads from its standard input as another login: the runner, and its order."""
    text = json.dumps(order).encode()
    return struct.pack(">I", len(image)) + image + struct.pack(">I", len(text)) + text


def start_env() -> dict[str, str]:
    """What sudo is started with; it makes an environment of its own for what it starts."""
    return {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}


def ordered(pending: bytes, stdin: int, out: int) -> Json:
    """Sends an order, and reads the first line of output: what is in force, or what ``failed``."""
    give_up, line = time.monotonic() + FIRST_WORDS_SECONDS, b""
    os.set_blocking(stdin, False)
    while not line.endswith(b"\n") and len(line) < LONGEST_FIRST_LINE:
        left = give_up - time.monotonic()
        readable, writable, _ = select.select([out], [stdin] if pending else [], [], max(0.0, left))
        if writable:
            try:
                pending = pending[os.write(stdin, pending) :]
            except OSError:
                pending = b""  # it ended: its output says why
        byte = os.read(out, 1) if readable else b""
        if left <= 0 or (readable and not byte):
            break
        line += byte
    answer = parse(line)
    if answer.get("walls") or answer.get("failed"):
        return answer
    return {"failed": line.decode("utf-8", "replace").strip()[-200:] or "it ended without a word"}


def signal_all(login: str, number: int) -> None:
    """Sends a signal to every process of that login. Programs named kill differ in what they make of ``-1``."""
    argv = [*become(login), sys.executable, "-I", "-S", "-E", "-c", KILL, str(int(number))]
    attempt(os.posix_spawnp, argv[0], argv, start_env())


def clear_as(order: Json, image: bytes) -> Json:
    """The same for the login that the order names, which this one may become."""
    import subprocess

    command, data = as_login(order["login"], "clear"), packed(image, order)
    patience = order.get("patience", FIRST_WORDS_SECONDS)
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=patience, cwd="/")
    except (OSError, subprocess.SubprocessError) as error:
        return {"ended": 0, "alone": False, "left": [str(error)[:200]]}
    said = done.stderr.decode("utf-8", "replace").strip()[-200:]
    return parse(done.stdout) or {"ended": 0, "alone": False, "left": [said or "its cleaner ended without a word"]}


def become(login: str) -> list[str]:
    """The beginning of a command that runs as another login."""
    return ["sudo", "-n", "-H", "-u", login, "--"]


def as_login(login: str, work: str) -> list[str]:
    """The command that runs a part of the runner as another login; the image comes on its standard input."""
    return [*become(login), sys.executable, "-I", "-S", "-E", "-c", START, "runner", work]
