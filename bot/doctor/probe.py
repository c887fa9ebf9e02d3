"""What doctor runs under each login, on each machine. Python 3.9 and the standard library; it is sent as text.

Its standard input is one JSON object: ``attempts`` (a list of ``[deed, path]``), ``programs`` (paths or names, each
with the arguments that print its version, or none) and ``path`` (directories before PATH). It prints one JSON
object on standard output and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attempt(deed: str, path: str) -> tuple[bool, str]:
    """Whether the deed succeeds, and the system's answer."""
    try:
        DEEDS[deed](path)
    except subprocess.CalledProcessError as error:
        return False, f"refused with exit status {error.returncode}"
    except (OSError, subprocess.SubprocessError) as error:
        return False, getattr(error, "strerror", None) or type(error).__name__
    return True, "it did"


def read(path: str) -> None:
    """Reads a byte."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.read(descriptor, 1)
    finally:
        os.close(descriptor)


def change(path: str) -> None:
    """Opens for writing, and writes nothing."""
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))


def create(directory: str) -> None:
    """Creates a file (with a name that git ignores) and removes it."""
    path = Path(directory) / f"airboss-doctor-{os.getpid()}-{time.time_ns()}.lock"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()


def connect(path: str) -> None:
    """Connects to the socket, and sends nothing."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)


def signal_process(pid: str) -> None:
    """Asks whether a signal would be delivered, without sending one."""
    os.kill(int(pid), 0)


def become(login: str) -> None:
    """Runs ``true`` as another login without a password."""
    subprocess.run(
        ["sudo", "-n", "-u", login, "true"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=20,
        check=True,
    )


def list_directory(path: str) -> None:
    """Lists a directory."""
    list(Path(path).iterdir())


DEEDS: dict[str, Callable[[str], None]] = {
    "read": read,
    "list": list_directory,
    "change": change,
    "create": create,
    "connect": connect,
    "signal": signal_process,
    "become": become,
}


def version(program: str, arguments: list[str]) -> dict[str, Any]:
    """Where a program is, and the first line of its version output."""
    found = shutil.which(str(Path(program).expanduser()))
    if found is None or not arguments:
        return {"path": found or "", "says": ""}
    try:
        done = subprocess.run(
            [found, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = "no answer in 30 s" if isinstance(error, subprocess.TimeoutExpired) else "it does not start"
        return {"path": found, "says": f"({why})"}
    return {"path": found, "says": done.stdout.decode("utf-8", "replace").strip().split("\n")[0][:200]}


def main() -> None:
    """Does what the object on standard input asks for."""
    asked = json.load(sys.stdin)
    ahead = [str(Path(directory).expanduser()) for directory in asked["path"]]
    os.environ["PATH"] = os.pathsep.join([*ahead, os.environ.get("PATH", os.defpath)])
    answer = {
        "clock_us": time.time_ns() // 1000,
        "attempts": [attempt(deed, path) for deed, path in asked["attempts"]],
        "programs": [version(program, arguments) for program, arguments in asked["programs"]],
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
