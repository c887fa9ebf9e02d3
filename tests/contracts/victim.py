"""The run or session that attacks are aimed at: it really holds what they reach for."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleet.exits import Exited
from fleet.machines.login import LoginExecutor
from tests.contracts.executor_logins import follow, pipe_spec, said

#: What the other run is: it holds a file, sockets, shared memory and a FIFO, and says when it is ready.
VICTIM = """
import ctypes, os, socket, sys, time
name, key, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.mkdir(directory + "/tree")
for path in ("/tree/secret", "/log"):
    open(directory + path, "w").close()
os.mkfifo(directory + "/ctl")
fifo = os.open(directory + "/ctl", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
shared, queue = libc.shmget(key, 4096, 0o1600), libc.msgget(key, 0o1600)
for path in ("/dev/shm/" + name, "/var/tmp/" + name):
    open(path, "w").close()
listening = []
for address in ("\\0" + name, "/tmp/" + name):
    listening.append(socket.socket(socket.AF_UNIX))
    listening[-1].bind(address)
    listening[-1].listen()
port = socket.create_server(("127.0.0.1", 0))
print("ready", port.getsockname()[1], os.getpid(), flush=True)
sys.stdin.read()
libc.shmctl(shared, 0, None), libc.msgctl(queue, 0, None)
for path in ("/dev/shm/" + name, "/var/tmp/" + name, "/tmp/" + name):
    os.unlink(path)
"""


@asynccontextmanager
async def victim(executor: LoginExecutor, folder: str) -> AsyncIterator[dict[str, object]]:
    """Runs it in that folder of our directory; gives the names that ``between_runs`` uses."""
    await executor.facts()
    name, key = f"airboss-{secrets.token_hex(6)}", secrets.randbelow(1 << 30) + 1
    home, directory = f"{executor.root}/home", f"{executor.root}/{folder}"
    await executor.write_file(f"{directory}/.keep", b"")
    await executor.write_file(f"{home}/.keep", b"")
    spec = pipe_spec("/usr/bin/python3", "-c", VICTIM, name, str(key), directory, stdin=True)
    await executor.start(spec)
    _, port, pid = (await said(executor, spec.id, b"\n")).split()
    try:
        yield {
            "ROOT": executor.root, "VICTIM": directory, "HOME": home, "PID": int(pid), "KEY": key, "NAME": name,
            "PORT": int(port),
        }  # fmt: skip
    finally:
        await executor.send(spec.id, 0, b"", eof=True)
        assert (await follow(executor, spec.id)).ended.exit == Exited(0)
