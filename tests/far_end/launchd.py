"""What launchd does with a job that has a socket and ``inetdCompatibility``: one process for each connection."""

from __future__ import annotations

import contextlib
import os
import plistlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def loaded(plist: Path, path: Path) -> Iterator[None]:
    """Runs the job of this file, its socket at ``path``, until it is left; what it started lives on."""
    job: dict[str, Any] = plistlib.loads(plist.read_bytes())
    assert not job["inetdCompatibility"]["Wait"]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(job["Sockets"]["Listener"]["SockPathMode"])
    listener.listen()
    started: list[subprocess.Popen[bytes]] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    end, argv = connection.fileno(), job["ProgramArguments"]
                    env = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
                    started.append(subprocess.Popen(argv, env=env, cwd="/", stdin=end, stdout=end, stderr=end))

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        path.unlink()
        for process in started:
            process.kill()
            process.wait()
