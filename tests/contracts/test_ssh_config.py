"""SSH as people have it: aliases and keys of ``~/.ssh/config``, keyscan lines, keys with a passphrase."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.config.hostkeys import pinned
from fleet.errors import Misused
from fleet.machines.ssh import SshExecutor
from tests.contracts.executor_logins import far_end
from tests.far_end.sshd import Sshd


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


def executor(sshd: Sshd, tmp_path: Path, *, host: str = "macbook", identity: str = "") -> SshExecutor:
    return SshExecutor(
        "macbook", host=host, user=sshd.user, host_key=sshd.host_key, identity=identity, root=str(tmp_path / "root")
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


async def test_a_config_that_cannot_be_read_is_named(sshd: Sshd, ssh: Path, tmp_path: Path) -> None:
    (ssh / "config").write_text("Host *\n  Port many\n")
    machine = executor(sshd, tmp_path)
    try:
        with pytest.raises(Misused, match=r"~/\.ssh/config"):
            await machine.facts()
    finally:
        await machine.close()


async def test_a_key_with_a_passphrase_is_named_with_the_remedy(sshd: Sshd, ssh: Path, tmp_path: Path) -> None:
    key = ssh / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    machine = executor(sshd, tmp_path, host="127.0.0.1", identity=str(key))
    try:
        with pytest.raises(Misused, match=rf"{key}.*it is encrypted.*ssh-add"):
            await machine.facts()
    finally:
        await machine.close()


def test_a_host_key_is_taken_as_people_copy_it(sshd: Sshd) -> None:
    key = sshd.host_key
    rsa = "AAAAB3NzaC1yc2EAAAADAQABAAAA"
    for text in (
        key,
        f"{key} root@macbook",
        f"[macbook.local]:2222 {key}",
        f"# macbook:22 SSH-2.0-OpenSSH_9.2\nmacbook ssh-rsa {rsa}\nmacbook {key}\n",
        f"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {key}",
    ):
        assert pinned(text) == key
    assert pinned(f"macbook ssh-rsa {rsa}") == f"ssh-rsa {rsa}"
    for text in ("", "macbook", "ssh-ed25519 AAAA", f"macbook ssh-rsa {key.split()[1]}"):
        assert pinned(text) == ""
