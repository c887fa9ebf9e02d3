"""SSH as people have it: aliases and keys of ``~/.ssh/config``, keyscan lines, keys with a passphrase."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from fleet.config.hostkeys import pinned
from fleet.errors import NotLetIn
from fleet.machines.ssh import SshExecutor
from tests.contracts.executor_logins import far_end
from tests.far_end.sshd import Sshd, running_sshd


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with far_end() as server:
        yield server


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ``~/.ssh`` of the controller's login."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    place = tmp_path / ".ssh"
    place.mkdir(mode=0o700)
    return place


def executor(
    sshd: Sshd, tmp_path: Path, *, host: str = "macbook", identity: str = "", port: int = 22
) -> SshExecutor:
    return SshExecutor(
        "macbook",
        host=host,
        port=port,
        user=sshd.user,
        host_key=sshd.host_key,
        identity=identity,
        root=str(tmp_path / "root"),
    )


async def test_an_alias_gives_host_port_and_key(sshd: Sshd, ssh: Path, tmp_path: Path) -> None:
    (ssh / "config").write_text("Include hosts/*\n")
    (ssh / "hosts").mkdir()
    (ssh / "hosts" / "mac").write_text(
        f"Host mac*\n  HostName 127.0.0.1\n  Port {sshd.port}\n  IdentityFile {sshd.identity}\n  User nobody\n"
    )
    machine = executor(sshd, tmp_path)
    try:
        assert (await machine.facts()).user == sshd.user, "the login is the one of fleet.toml"
    finally:
        await machine.close()


@pytest.mark.parametrize(
    ("ciphers", "used"),
    [("", "aes256-gcm@openssh.com"), ("Ciphers chacha20*,aes256-ctr", "chacha20-poly1305@openssh.com")],
)
async def test_the_cipher_is_the_cheapest_unless_the_configuration_chooses(
    sshd: Sshd, ssh: Path, tmp_path: Path, ciphers: str, used: str
) -> None:
    (ssh / "config").write_text(f"Host mac*\n  HostName 127.0.0.1\n  Port {sshd.port}\n  {ciphers}\n")
    machine = executor(sshd, tmp_path, identity=str(sshd.identity))
    try:
        assert (await machine.connected()).get_extra_info("send_cipher") == used
    finally:
        await machine.close()


def loopbacks() -> list[str]:
    """This machine's own addresses as people write them; of IPv6 only where it has that."""
    with socket.socket(socket.AF_INET6) as probe, contextlib.suppress(OSError):
        probe.bind(("::1", 0))
        return ["127.0.0.1", "::1", "[::1]"]
    return ["127.0.0.1"]


async def test_a_machine_is_reached_by_its_address_of_either_kind(ssh: Path, tmp_path: Path) -> None:
    hosts = loopbacks()
    also = ["ListenAddress ::1"] if "::1" in hosts else []
    with running_sshd(tmp_path / "sshd", settings=also, startup_files=False) as server:
        for host in hosts:
            machine = executor(server, tmp_path, host=host, port=server.port, identity=str(server.identity))
            try:
                assert (await machine.facts()).user == server.user, host
            finally:
                await machine.close()


#: Made without a token: its handle means nothing.
TOKEN_KEY = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAASgAAABpzay1zc2
gtZWQyNTUxOUBvcGVuc3NoLmNvbQAAACBggvteD/n+m0sZUaMpg40KMYCHkvikBB+qnY1R
NphkawAAAARzc2g6AAAAoCr/X0Qq/19EAAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY2
9tAAAAIGCC+14P+f6bSxlRoymDjQoxgIeS+KQEH6qdjVE2mGRrAAAABHNzaDoBAAAAQGho
aGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaG
hoaGhoaGhoaGgAAAAAAAAAAAE=
-----END OPENSSH PRIVATE KEY-----
"""
RELAY = """
import socket, sys, threading
link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def out():
    while data := link.recv(65536):
        sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
threading.Thread(target=out, daemon=True).start()
while data := sys.stdin.buffer.raw.read(65536):
    link.sendall(data)
"""
WAYS = {
    "Match": "Match host mac*\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {key}\n",
    "ProxyCommand": "Host mac*\n  HostName nowhere.invalid\n  IdentityFile {key}\n"
    "  ProxyCommand {python} {home}/relay.py {port}\n",
    "ProxyJump": "Host mac*\n  HostName 127.0.0.1\n  Port {port}\n  ProxyJump door\n  IdentityFile {key}\n"
    "Host door\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {key}\n",
    "IdentityAgent": "Host mac*\n  HostName 127.0.0.1\n  Port {port}\n  IdentityAgent {home}/agent.sock\n",
}


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_to_a_machine_that_the_config_names(sshd: Sshd, ssh: Path, tmp_path: Path, way: str) -> None:
    values = {"port": sshd.port, "key": sshd.identity, "user": sshd.user, "python": sys.executable}
    (ssh / "config").write_text(WAYS[way].format(home=tmp_path, **values))
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    (tmp_path / "relay.py").write_text(RELAY)
    with key_agent(tmp_path / "agent.sock", sshd.identity) if way == "IdentityAgent" else contextlib.nullcontext():
        machine = executor(sshd, tmp_path)
        try:
            assert (await machine.facts()).user == sshd.user
        finally:
            await machine.close()


@contextlib.contextmanager
def key_agent(sock: Path, key: Path) -> Iterator[None]:
    """A key agent that has the key."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # it listens now
        subprocess.run(["ssh-add", "-q", str(key)], env={**os.environ, "SSH_AUTH_SOCK": str(sock)}, check=True)
        yield
    finally:
        agent.kill()
        agent.communicate()


async def test_a_key_on_a_token_is_named_with_the_remedy(sshd: Sshd, ssh: Path, tmp_path: Path) -> None:
    """The file of a FIDO key holds no secret: only a key agent can ask the token."""
    (ssh / "id_sk").write_text(TOKEN_KEY)
    (ssh / "id_sk").chmod(0o600)
    public = asyncssh.import_private_key(TOKEN_KEY).export_public_key("openssh").decode()
    allowed = sshd.directory / "authorized_keys"
    allowed.write_text(f"{allowed.read_text()}{public}")
    machine = executor(sshd, tmp_path, host="127.0.0.1", identity=str(ssh / "id_sk"), port=sshd.port)
    try:
        with pytest.raises(NotLetIn, match=r"id_sk.*it is on a security key.*ssh-add"):
            await machine.facts()
    finally:
        await machine.close()


async def test_a_config_that_cannot_be_read_is_named(sshd: Sshd, ssh: Path, tmp_path: Path) -> None:
    (ssh / "config").write_text("Host *\n  Port many\n")
    machine = executor(sshd, tmp_path)
    try:
        with pytest.raises(NotLetIn, match=r"~/\.ssh/config"):
            await machine.facts()
    finally:
        await machine.close()


async def test_a_key_with_a_passphrase_is_named_with_the_remedy(sshd: Sshd, ssh: Path, tmp_path: Path) -> None:
    key = ssh / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    machine = executor(sshd, tmp_path, host="127.0.0.1", identity=str(key))
    try:
        with pytest.raises(NotLetIn, match=rf"{key}.*it is encrypted.*ssh-add"):
            await machine.facts()
    finally:
        await machine.close()


def test_a_host_key_is_taken_as_people_copy_it(sshd: Sshd) -> None:
    key = sshd.host_key
    rsa = "AAAAB3NzaC1yc2EAAAADAQAB"
    for text in (
        key,
        f"{key} root@macbook",
        f"[macbook.local]:2222 {key}",
        f"# macbook:22 SSH-2.0-OpenSSH_9.2\nmacbook ssh-rsa {rsa}\nmacbook {key}\n",
        f"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {key}",
    ):
        assert pinned(text) == key
    assert pinned(f"macbook ssh-rsa {rsa}") == f"ssh-rsa {rsa}"
    for text in (
        "",
        "macbook",
        "ssh-ed25519 AAAA",
        f"macbook ssh-rsa {key.split()[1]}",
        f"macbook ssh-rsa {rsa}AAAA",
    ):
        assert pinned(text) == ""
