"""The executor's contract when the world is in the way: links that break or freeze, disks that fill up."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from fleet.errors import MachineFaulty, Misused, NotLetIn, Unavailable, Unreachable
from fleet.exits import Exited
from fleet.machines import runner
from fleet.machines.ssh import SshExecutor
from fleet.ports import Ended, Output, Stalled
from tests.contracts.executor_logins import (
    NONCE,
    Login,
    follow,
    opened,
    pipe_spec,
    private_directory,
    run_pipe,
    said,
    ssh_executor,
)
from tests.far_end.sshd import Sshd, new_key


async def serve_pid(login: Login) -> int:
    """The runner process behind the link of the login's first executor."""
    return login.outside(int((await login.made[0].run(["sh", "-c", "echo $PPID"])).out))


async def test_a_link_cut_in_mid_line_loses_nothing_and_repeats_nothing(login: Login) -> None:
    """The agent writes half a line, the link is cut, the agent goes on; a new link takes up at the offset."""
    executor = login.executor()
    spec = pipe_spec(
        "sh", "-c", "printf 'first half'; read x; printf ', second half\n'; read y; seq 50000; exit 6", stdin=True
    )
    await executor.start(spec)
    seen = b""
    with pytest.raises(Unreachable):
        async for event in executor.attach(spec.id, NONCE, 0):
            if isinstance(event, Output):
                seen += event.data
            if seen == b"first half":
                if login.sshd:
                    assert login.sshd.cut() > 0
                else:
                    os.kill(await serve_pid(login), signal.SIGKILL)
    await executor.send(spec.id, 0, b"go\n")
    async for event in executor.attach(spec.id, NONCE, len(seen)):
        if isinstance(event, Output):
            assert event.offset == len(seen)
            seen += event.data
        if seen.endswith(b"second half\n"):
            break
    os.kill(await serve_pid(login), signal.SIGKILL)
    with pytest.raises(Unreachable):
        while True:
            await executor.run(["sleep", "10"])
    await executor.send(spec.id, 3, b"go\n", eof=True)
    life = await follow(executor, spec.id, len(seen))
    expected = b"first half, second half\n" + b"".join(b"%d\n" % n for n in range(1, 50001))
    assert seen + life.output == expected and life.ended.exit == Exited(6)


async def test_a_frozen_far_side_is_noticed(login: Login) -> None:
    executor = login.executor(keepalive=(0.5, 4))
    spec = pipe_spec("sleep", "300")
    await executor.start(spec)
    serve = await serve_pid(login)
    lives = executor.attach(spec.id, NONCE, 0)
    await anext(lives)
    if login.sshd:
        assert login.sshd.signal_sessions(signal.SIGSTOP) > 0
    else:
        os.kill(serve, signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(Unreachable, match=r"no answer|not responding"):
                async for _ in lives:
                    pass
    finally:
        if login.sshd:
            login.sshd.signal_sessions(signal.SIGCONT)
            login.sshd.cut()
        with contextlib.suppress(ProcessLookupError):
            os.kill(serve, signal.SIGCONT)
    assert (await executor.run(["true"])).exit == Exited(0)


async def test_a_frozen_far_side_under_load_is_noticed(login: Login) -> None:
    """Pings queue behind a write that nobody takes; the watch must not wait for it."""
    executor = login.executor(keepalive=(0.5, 4))
    await executor.facts()
    serve = await serve_pid(login)
    os.kill(serve, signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(Unreachable):
                await asyncio.gather(*(executor.write_file(f"f{n}", bytes(900_000)) for n in range(8)))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(serve, signal.SIGCONT)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of one megabyte. A test asks for it before the login: a job sees what was mounted when it began."""
    with private_directory() as directory:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", str(directory)],
            check=False,
            capture_output=True,
            text=True,
        )
        if mounted.returncode:
            raise RuntimeError(f"cannot make a small disk: {mounted.stderr}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.needs_root
async def test_a_full_disk_stalls_the_pipe_and_loses_nothing(small_disk: Path, login: Login) -> None:
    executor = login.executor(root=str(small_disk / "home"))
    await executor.facts()
    (small_disk / "ballast").write_bytes(bytes(300_000))
    spec = pipe_spec("sh", "-c", "seq 150000; exit 3")
    await executor.start(spec)
    output, ended = b"", None
    async for event in executor.attach(spec.id, NONCE, 0):
        if isinstance(event, Output):
            output += event.data
        elif isinstance(event, Stalled):
            assert "space" in event.why
            with pytest.raises(Unavailable, match="space"):
                await executor.write_file("more", bytes(200_000))
            (small_disk / "ballast").unlink(missing_ok=True)
            subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
        elif isinstance(event, Ended):
            ended = event
    assert output == b"".join(b"%d\n" % n for n in range(1, 150001))
    assert ended and ended.exit == Exited(3)


@pytest.mark.needs_root
async def test_an_exit_record_waits_for_space(small_disk: Path, login: Login) -> None:
    executor = login.executor(root=str(small_disk / "home"))
    await executor.facts()
    spec = pipe_spec("sh", "-c", "echo up; read x; exit 5", stdin=True)
    await executor.start(spec)
    await said(executor, spec.id, b"up")
    await executor.send(spec.id, 0, b"x")
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    await executor.send(spec.id, 1, b"\n")
    async for event in executor.attach(spec.id, NONCE, 0):
        if isinstance(event, Stalled):
            (small_disk / "ballast").unlink()
        elif isinstance(event, Ended):
            assert event.exit == Exited(5)


@pytest.mark.needs_root
async def test_a_disk_that_is_full_from_the_start_is_unavailable(small_disk: Path, login: Login) -> None:
    executor = login.executor(root=str(small_disk / "home"))
    await executor.facts()
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    spec = pipe_spec("true")
    with pytest.raises(Unavailable, match="space"):
        await executor.start(spec)
    (small_disk / "ballast").unlink()
    assert (await run_pipe(executor, spec)).ended.exit == Exited(0)


async def test_another_host_key_is_refused_with_the_remedy(sshd: Sshd, tmp_path: Path) -> None:
    executor = ssh_executor(sshd, host_key=new_key(tmp_path / "other"))
    with pytest.raises(NotLetIn) as caught:
        await executor.facts()
    assert "host key" in caught.value.cause and "airboss machines add" in caught.value.hint
    assert executor.channels_opened == 0


async def test_a_key_that_the_machine_does_not_know_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    new_key(tmp_path / "stranger")
    with pytest.raises(NotLetIn, match="authorized_keys"):
        await ssh_executor(sshd, identity=str(tmp_path / "stranger")).facts()
    with pytest.raises(NotLetIn, match="identity"):
        await ssh_executor(sshd, identity=str(tmp_path / "missing")).facts()


async def test_a_machine_that_does_not_answer_is_unreachable(sshd: Sshd) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="awake"):
            await ssh_executor(sshd, port=unused.getsockname()[1]).facts()
        unused.listen(1)  # takes the connection and says nothing
        with pytest.raises(Unreachable):
            await ssh_executor(sshd, port=unused.getsockname()[1], connect_timeout=0.5).facts()


@pytest.mark.parametrize(("cuts", "error"), [(True, Unreachable), (False, Unavailable)])
async def test_a_link_that_is_cut_before_a_channel_opens_is_no_refusal(
    sshd: Sshd, cuts: bool, error: type[Unavailable]
) -> None:
    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._connection = conn

        def begin_auth(self, username: str) -> bool:
            return False

        def session_requested(self) -> bool:
            if cuts:
                self._connection.abort()
            return False

    key = asyncssh.generate_private_key("ssh-ed25519")
    far = await asyncssh.listen("127.0.0.1", 0, server_factory=Server, server_host_keys=[key], config=None)
    host_key = " ".join(key.export_public_key().decode().split()[:2])
    async with far:
        with pytest.raises(Unavailable, match="open a channel") as caught:
            await ssh_executor(sshd, port=far.get_port(), host_key=host_key).facts()
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("field", "value"), [("host", "-oProxyCommand=x"), ("user", "-l"), ("host_key", "nonsense")]
)
async def test_names_that_could_be_options_are_refused(sshd: Sshd, field: str, value: str) -> None:
    with pytest.raises(Misused, match=field.replace("_", ".")):
        ssh_executor(sshd, **{field: value})


NOISE = {
    "lines": ("echo Welcome!; echo; echo here we are", ""),
    "half a line": ("printf 'No newline at the end'", ""),
    "too much": ("yes Welcome | head -c 100000", "Welcome"),
    "nothing else": ("echo This account is closed.; exit 1", "This account is closed"),
}


@pytest.mark.parametrize(("says", "trouble"), NOISE.values(), ids=NOISE)
async def test_what_a_login_prints_at_start_up_does_no_harm(says: str, trouble: str) -> None:
    """The channel is binary, and begins after the runner's greeting."""
    with private_directory() as directory:
        talker = directory / "python3"
        talker.write_text(f'#!/bin/sh\n{says}\nexec {sys.executable} "$@"\n')
        talker.chmod(0o755)
        from fleet.machines.local import LocalExecutor

        executor = LocalExecutor("near", root=str(directory / "root"), python=str(talker))
        if trouble:
            with pytest.raises((Unavailable, MachineFaulty), match=trouble):
                await executor.facts()
        else:
            assert (await executor.run(["echo", "well"])).out == b"well\n"
        await executor.close()


def oldest_python() -> str:
    """The oldest Python from 3.9 on that can be run here."""
    places = [Path(part) for part in os.environ.get("PATH", "").split(":")]
    places += sorted(Path.home().glob(".pyenv/versions/3.*/bin"))
    for minor in range(9, sys.version_info.minor + 1):
        for place in places:
            program = place / f"python3.{minor}"
            if program.exists() and not subprocess.run([program, "-c", ""], check=False).returncode:
                return str(program)
    return sys.executable


async def test_the_runner_works_on_an_old_python(sshd: Sshd) -> None:
    for module in Path(str(runner.__file__)).parent.glob("*.py"):
        ast.parse(module.read_text(), feature_version=(3, 9))
    async with opened("local", sshd, python=oldest_python()) as login:
        executor = login.executor()
        assert (await executor.facts()).python >= "3"
        for contain in (False, True):
            life = await run_pipe(executor, pipe_spec("sh", "-c", "echo x; exit 2", contain=contain))
            assert (life.output, life.ended.exit) == (b"x\n", Exited(2))
        await executor.remove_tree("pipes")


async def test_ssh_names_what_it_pins(sshd: Sshd) -> None:
    executor = ssh_executor(sshd)
    assert isinstance(executor, SshExecutor) and executor.fingerprint.startswith("SHA256:")
