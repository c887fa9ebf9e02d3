"""A witness that others wrote: ``aics-witness`` with ``aics-tlog``, from PyPI. They need Python 3.12 or newer.

``make torture`` installs them once, into ``.cache/foreign-witness``, and says so where there is no such Python.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from tests.far_end.ports import unused_port

PACKAGES: Final = ("aics-witness==0.1.0", "aics-tlog==0.2.1")
NAME: Final = "foreign.example/w1"
_ROOT: Final = Path(__file__).resolve().parents[2]
_SECONDS: Final = 30.0


@cache
def younger_python() -> str:
    """A Python of 3.12 or newer on this machine; empty: there is none."""
    named = [shutil.which(f"python3.{minor}") or "" for minor in (12, 13, 14)]
    managed = sorted(map(str, Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python3")))
    return next((path for path in [*managed, *named] if path and _runs(path)), "")


def _runs(path: str) -> bool:
    script = "import sys, venv; sys.exit(sys.version_info < (3, 12))"
    return subprocess.run([path, "-I", "-c", script], capture_output=True, check=False).returncode == 0


def installed() -> Path:
    """The folder of the programs, installed when first asked, by one of the processes that ask."""
    where = _ROOT / ".cache" / "foreign-witness"
    where.parent.mkdir(exist_ok=True)
    with where.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / "ready").exists():
            shutil.rmtree(where, ignore_errors=True)
            subprocess.run([younger_python(), "-m", "venv", str(where)], check=True, capture_output=True)
            pip = [str(where / "bin" / "python3"), "-m", "pip", "install", "--quiet", *PACKAGES]
            subprocess.run(pip, check=True, capture_output=True, text=True)
            (where / "ready").touch()
    return where / "bin"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A witness at work: where it listens, and its key."""

    folder: Path
    url: str
    key: str


@contextmanager
def serving(folder: Path, origin: str, log: str) -> Iterator[Foreign]:
    """The witness, which knows one log."""
    folder.mkdir()
    programs, config = installed(), str(folder / "witness.json")
    address = f"127.0.0.1:{unused_port()}"

    def say(*words: str) -> str:
        command = [str(programs / "aics-witness"), *words, "--config", config]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout.strip()

    key = say("init", "--name", NAME, "--listen", address)
    say("add-log", "--origin", origin, "--vkey", log)
    command = [str(programs / "aics-witness"), "serve", "--config", config]
    with (folder / "log").open("w") as log_file, subprocess.Popen(command, cwd=folder, stderr=log_file) as process:
        try:
            deadline = monotonic() + _SECONDS
            while not re.search("listening on", (folder / "log").read_text()):
                assert process.poll() is None and monotonic() < deadline, (folder / "log").read_text()
                sleep(0.05)
            yield Foreign(folder, f"http://{address}", key)
        finally:
            process.terminate()
            process.wait(_SECONDS)
