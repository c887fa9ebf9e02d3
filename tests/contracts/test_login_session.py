"""The runner in a Mac's login session: what sshd starts is a relay, and launchd's job starts the runner.

Nobody has run this on a Mac. Here launchd is played, from the plist that we ship; sshd is real.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.errors import Unavailable
from fleet.exits import Exited
from fleet.machines.login_session import SOCKET, first_line, relay_command
from tests.contracts.executor_logins import far_end, follow, pipe_spec, ssh_executor
from tests.far_end.launchd import loaded

PLIST = Path(__file__).parents[2] / "deploy" / "com.airboss.session.plist"


async def test_a_runner_and_its_agents_are_in_the_login_session_and_outlive_the_link(tmp_path: Path) -> None:
    root = tmp_path / ".airboss"
    root.mkdir(mode=0o700)
    with far_end() as sshd:
        machine, again, away = (
            ssh_executor(sshd, root=str(root), python=sys.executable, login_session=True) for _ in range(3)
        )
        with pytest.raises(Unavailable, match="log in at its screen"):
            await away.facts()
        with loaded(PLIST, root / SOCKET):
            assert (await machine.facts()).user == sshd.user
            env = (await machine.run(["sh", "-c", "tr '\\0' '\\n' < /proc/$PPID/environ"])).out.decode()
            assert "SSH_CONNECTION" not in env, "it is no child of sshd"
            spec = pipe_spec("sh", "-c", "echo begun; read x; echo $x; exit 7", stdin=True)
            await machine.start(spec)
            assert sshd.cut() > 0
            await again.send(spec.id, 0, b"word\n")
            life = await follow(again, spec.id)
            assert (life.output, life.ended.exit) == (b"begun\nword\n", Exited(7))
            for each in (machine, again, away):
                await each.close()


def test_a_relay_whose_link_is_gone_ends_when_there_is_more_to_say(tmp_path: Path) -> None:
    """The runner may write before it hears that nobody listens."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()
        pipe = subprocess.PIPE
        with subprocess.Popen(
            relay_command(sys.executable, str(tmp_path)), stdin=pipe, stdout=pipe, stderr=pipe
        ) as relay:
            assert relay.stdin is not None and relay.stdout is not None
            runner, _ = listener.accept()
            relay.stdout.close()
            runner.sendall(b"more\n")
            relay.stdin.close()
            with runner:
                assert relay.wait(60) == 0


def test_any_argument_arrives_as_one_line() -> None:
    words = ["printf", "%s|", "a b", "it's", "one\\nline", '$HOME `x` "q"', ""]
    line = first_line(words)
    assert line.count(b"\n") == 1
    reader, writer = os.pipe()
    os.write(writer, line)
    os.close(writer)
    with os.fdopen(reader) as shell:
        said = subprocess.run(["/bin/sh"], stdin=shell, capture_output=True, text=True, check=True).stdout
    assert said == 'a b|it\'s|one\\nline|$HOME `x` "q"||'
