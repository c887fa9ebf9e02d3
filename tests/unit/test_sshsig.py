"""Signatures of receipts, with ssh-keygen as the second opinion."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import Malformed, Unavailable
from gates.receipts import sshsig

MESSAGE = b'{"_type":"https://in-toto.io/Statement/v1"}'


def ssh_keygen(folder: Path, message: bytes, signature: str, key: sshsig.PublicKey, namespace: str) -> bool:
    """What OpenSSH alone says of a signature."""
    program = shutil.which("ssh-keygen")
    assert program, "these tests need ssh-keygen: install openssh-client"
    (folder / "message.sig").write_text(signature)
    (folder / "signers").write_text(sshsig.allowed_signers_line(key))
    done = subprocess.run(
        [program, "-Y", "verify", "-f", "signers", "-I", sshsig.PRINCIPAL, "-n", namespace, "-s", "message.sig"],
        cwd=folder,
        input=message,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.parametrize(
    ("change", "good"),
    [("nothing", True), ("byte", False), ("namespace", False), ("key", False)],
)
def test_ssh_keygen_alone_agrees_with_us(tmp_path: Path, change: str, good: bool) -> None:
    key = sshsig.load_or_create(tmp_path)
    signature = sshsig.sign(key, MESSAGE, "another" if change == "namespace" else sshsig.NAMESPACE)
    message = MESSAGE.replace(b"v1", b"v2") if change == "byte" else MESSAGE
    pinned = sshsig.public_of(Ed25519PrivateKey.generate() if change == "key" else key)
    assert (sshsig.verify(signature, message, pinned) == "") is good
    assert ssh_keygen(tmp_path, message, signature, pinned, sshsig.NAMESPACE) is good


def test_a_signature_by_ssh_keygen_is_read(tmp_path: Path) -> None:
    key = sshsig.load_or_create(tmp_path)
    (tmp_path / "m").write_bytes(MESSAGE)
    subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", "keys/receipt_ed25519", "-n", sshsig.NAMESPACE, "m"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert sshsig.verify((tmp_path / "m.sig").read_text(), MESSAGE, sshsig.public_of(key)) == ""
    assert (tmp_path / "m.sig").read_text() == sshsig.sign(key, MESSAGE)


@pytest.mark.parametrize(
    "damage", ["", "no armour", "-----BEGIN SSH SIGNATURE-----\n!!\n-----END SSH SIGNATURE-----"]
)
def test_a_damaged_signature_is_an_answer_not_a_crash(tmp_path: Path, damage: str) -> None:
    assert "damaged" in sshsig.verify(damage, MESSAGE, sshsig.public_of(sshsig.load_or_create(tmp_path)))


@given(st.binary(max_size=400))
def test_no_bytes_make_a_signature_crash_or_pass(data: bytes) -> None:
    key = sshsig.public_of(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
    good = sshsig.sign(Ed25519PrivateKey.from_private_bytes(b"k" * 32), MESSAGE)
    for text in (data.decode("latin-1"), good[: len(data)], good.replace("U1", data.decode("latin-1"), 1)):
        same = "".join(text.split()) == "".join(good.split())
        assert same or sshsig.verify(text, MESSAGE, key)


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = sshsig.public_of(sshsig.load_or_create(tmp_path))
    assert sshsig.public_of(sshsig.load_or_create(tmp_path)) == first
    path = tmp_path / "keys" / "receipt_ed25519"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(item.name for item in path.parent.iterdir()) == ["receipt_ed25519", "receipt_ed25519.pub"]
    assert sshsig.PublicKey.parse(path.with_suffix(".pub").read_text()) == first
    assert (
        subprocess.run(
            ["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True
        ).stdout.split()[1]
        == first.fingerprint
    )


def test_a_damaged_key_is_never_replaced_by_a_new_one(tmp_path: Path) -> None:
    sshsig.load_or_create(tmp_path)
    path = tmp_path / "keys" / "receipt_ed25519"
    path.write_text("damaged")
    with pytest.raises(Unavailable, match="backup"):
        sshsig.load_or_create(tmp_path)
    assert path.read_text() == "damaged"


KEY = sshsig.public_of(Ed25519PrivateKey.from_private_bytes(b"k" * 32))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (f"airboss {KEY.line}", True),
        (f'airboss namespaces="file,{sshsig.NAMESPACE}" {KEY.line} a comment', True),
        (f"# note\n\n{sshsig.allowed_signers_line(KEY)}", True),
        (f'airboss namespaces="file" {KEY.line}', False),
        (f"airboss cert-authority {KEY.line}", False),
        (f'airboss valid-before="20200101" {KEY.line}', False),
        (f"# airboss {KEY.line}", False),
        ("airboss ssh-rsa AAAA", False),
        ("", False),
    ],
)
def test_allowed_signers_are_read_as_ssh_keygen_reads_them(text: str, good: bool) -> None:
    if good:
        assert sshsig.from_allowed_signers(text) == (KEY,)
    else:
        with pytest.raises(Malformed):
            sshsig.from_allowed_signers(text)
