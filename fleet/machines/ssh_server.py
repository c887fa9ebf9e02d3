"""A small real SSH server on loopback, to try the fleet without a second machine.

``python -m fleet.machines.ssh_server --dir DIR`` creates a host key and a client key in DIR, listens on
127.0.0.1 at a free port, accepts only that client key, and runs commands through the login's shell as sshd does.
It appends a line of JSON to ``DIR/channels.jsonl`` for each session channel, and writes ``DIR/ready.json``
(``port``, ``host_key``, ``identity``, ``user``) when it is ready. It stops at the end of its standard input or on
SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pwd
import signal
import sys
import time
from pathlib import Path
from typing import Any

import asyncssh

from fleet.logins import account as own_account


async def serve(directory: Path, stopped: asyncio.Event) -> None:
    """Serves until ``stopped``."""
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    identity = directory / "id_ed25519"
    identity.touch(mode=0o600)
    identity.write_bytes(client_key.export_private_key())
    account = own_account()
    public = client_key.export_public_key().decode()
    sessions: set[asyncio.Task[None]] = set()

    async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        line = json.dumps({"time_us": time.time_ns() // 1000, "command": process.command}) + "\n"
        with (directory / "channels.jsonl").open("a") as log:
            log.write(line)
        task = asyncio.current_task()
        assert task is not None
        sessions.add(task)
        try:
            await _run(process, account)
        finally:
            sessions.discard(task)

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(public),
        process_factory=handle,
        encoding=None,
        config=None,
        password_auth=False,
        kbdint_auth=False,
        agent_forwarding=False,
        allow_pty=False,
        keepalive_interval=15,
    )
    ready: dict[str, Any] = {
        "port": server.get_port(),
        "host_key": " ".join(host_key.export_public_key().decode().split()[:2]),
        "identity": str(identity),
        "user": account.pw_name,
    }
    temporary = directory / "ready.json.tmp"
    temporary.write_text(json.dumps(ready))
    temporary.rename(directory / "ready.json")
    await stopped.wait()
    server.close()
    for task in sessions:
        task.cancel()
    if sessions:
        await asyncio.wait(sessions)


async def _run(process: asyncssh.SSHServerProcess[bytes], account: pwd.struct_passwd) -> None:
    """One session: runs the command in the login's shell, as sshd does."""
    shell = account.pw_shell or "/bin/sh"
    arguments = ["-c", process.command] if process.command else ["-l"]
    env = {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": shell,
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }
    child = await asyncio.create_subprocess_exec(
        shell,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=account.pw_dir,
        env=env,
        start_new_session=True,
    )
    try:
        await process.redirect(child.stdin, child.stdout, child.stderr)
        status = await child.wait()
        await process.stdout.drain()
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name[3:])
        else:
            process.exit(status)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()


async def _main(directory: Path) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)

    def read_stdin() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stopped.set()

    # A file or /dev/null cannot be watched, and its end means nothing.
    with contextlib.suppress(OSError):
        loop.add_reader(sys.stdin.fileno(), read_stdin)
    await serve(directory, stopped)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="a small SSH server on loopback")
    parser.add_argument("--dir", type=Path, required=True, help="where keys, ready.json and channels.jsonl go")
    directory: Path = parser.parse_args().dir
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    asyncio.run(_main(directory))


if __name__ == "__main__":
    main()
