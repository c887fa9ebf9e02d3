"""A real OpenSSH sshd on loopback: own host key, own authorized key, a free port, no root needed."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 60

#: Turns into a command under the filter that a run has within its walls, without giving up set-uid programs.
_WITHOUT_NAMESPACES = """
import os, sys
from fleet.machines.runner import seccomp
from fleet.machines.runner.libc import Libc
assert seccomp.install(Libc())
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running server. ``identity`` is the private key that it lets in as ``user``."""

    directory: Path
    port: int
    user: str
    host_key: str
    identity: Path
    process: subprocess.Popen[bytes]

    def session_pids(self) -> list[int]:
        """The sshd processes that serve connections now (not the listener)."""
        found = []
        parents = {self.process.pid}
        while fresh := [pid for pid, parent, name in _processes() if parent in parents and name == "sshd"]:
            found += fresh
            parents = set(fresh)
        return found

    def cut(self) -> int:
        """Kills every connection at once, as a lost link would; answers how many processes that were."""
        return self.signal_sessions(signal.SIGKILL)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Every connection is cut, and no new one is answered until this is left."""
        self.process.send_signal(signal.SIGSTOP)
        assert self.cut() > 0
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def signal_sessions(self, number: signal.Signals) -> int:
        """Sends a signal to every connection's processes."""
        pids = self.session_pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(pids)


def _processes() -> list[tuple[int, int, str]]:
    listing = subprocess.run(["ps", "-axo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    return [(int(row[0]), int(row[1]), Path(row[2]).name.split()[0].rstrip(":")) for row in rows if len(row) == 3]


def new_key(path: Path) -> str:
    """Makes an Ed25519 key pair unless there is one; answers the public half as ``TYPE BASE64``."""
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def _program() -> str:
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not found:
        raise FileNotFoundError(
            "these tests need OpenSSH's server: install it (Debian: apt-get install openssh-server)"
        )
    return found


@contextlib.contextmanager
def running_sshd(
    directory: Path,
    *,
    max_sessions: int = 10,
    port: int = 0,
    settings: Sequence[str] = (),
    namespaces: bool = True,
    startup_files: bool = True,
) -> Iterator[Sshd]:
    """Starts a server with everything it needs in ``directory``; ends it and its connections afterwards.

    Keys that are there are used. ``port`` is where it listens; otherwise it finds a free one.
    ``settings`` are more lines of its configuration. Without ``namespaces`` nothing that it starts can make one, as
    on a machine that forbids them; that needs root. ``startup_files``: shells read them as everywhere.
    Raises ``RuntimeError`` with sshd's own words when it does not start.
    """
    program = _program()
    directory.mkdir(parents=True, exist_ok=True)
    host_key = new_key(directory / "host_key")
    client_key = new_key(directory / "client_key")
    (directory / "authorized_keys").write_text(client_key + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)  # sshd as root insists on it
    log = directory / "log"
    for _ in range(10):
        # Between the probe and sshd another process may take the port: then sshd ends, and the next one is tried.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            listens_on = int(probe.getsockname()[1])
        (directory / "sshd_config").write_text(
            f"Port {listens_on}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\n"
            f"AuthorizedKeysFile {directory}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            # A nested shell reads no start-up file: a developer's own costs more than what is run.
            f"MaxSessions {max_sessions}\nMaxStartups 200\n{'' if startup_files else 'SetEnv SHLVL=1'}\n"
            + "".join(f"{setting}\n" for setting in settings)
        )
        with log.open("wb") as output:
            command = [program, "-D", "-e", "-f", str(directory / "sshd_config")]
            if not namespaces:
                command = [sys.executable, "-c", _WITHOUT_NAMESPACES, *command]
            process = subprocess.Popen(command, stdout=output, stderr=output)
        if _listens(process, log):
            break
    else:
        raise RuntimeError(f"sshd did not start; it said:\n{log.read_text(errors='replace')[-4000:]}")
    server = Sshd(directory, listens_on, getpass.getuser(), host_key, directory / "client_key", process)
    try:
        yield server
    finally:
        server.signal_sessions(signal.SIGCONT)
        server.cut()
        process.kill()
        process.wait()


def _listens(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Waits until this server says that it listens; a stranger's server on the same port would answer too."""
    give_up = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        if b"Server listening on " in log.read_bytes():
            return True
        time.sleep(0.01)
    process.kill()
    process.wait()
    return False
