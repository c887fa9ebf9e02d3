"""What a push that was not taken says to people."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import OriginAway
from fleet.git.push import rejection, unusable
from fleet.git.repository import Repository

PORCELAIN = "To /srv/git/shop.git\n!\tabc:refs/heads/main\t[remote rejected] (%s)\nDone\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            PORCELAIN % "pre-receive hook declined"
            + "\nremote: no merges on Fridays        \nerror: failed to push some refs to '/srv/git/shop.git'",
            "pre-receive hook declined; no merges on Fridays",
        ),
        (
            PORCELAIN % "pre-receive hook declined"
            + "".join(f"\nremote: Policy {n}: see https://wiki.example/{n}" for n in range(3))
            + "\nremote: REJECTED: no ticket number\nremote: bye",
            "pre-receive hook declined; REJECTED: no ticket number; Policy 0: see https://wiki.example/0; "
            "Policy 1: see https://wiki.example/1; Policy 2: see https://wiki.example/2; bye",
        ),
        (PORCELAIN % "hook declined", "hook declined"),
        ("fatal: no such thing", "fatal: no such thing"),
        (
            "no tags today\nfatal: ref updates aborted by hook\nsend-pack: unexpected disconnect",
            "no tags today; ref updates aborted by hook",
        ),
    ],
)
def test_a_rejected_push_says_the_repositorys_own_reason(words: str, told: str) -> None:
    assert rejection(words) == told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            PORCELAIN % "failed to update ref"
            + "\nremote: error: cannot lock ref 'refs/heads/main': Unable to create '/x/main.lock': File exists.",
            "/x/main.lock is there: a git works",
        ),
        (PORCELAIN % "branch is currently checked out", "checked out"),
        (
            "cannot lock ref 'refs/heads/airboss/t2': 'refs/heads/airboss' exists; cannot create",
            "airboss is in the way",
        ),
        ("error: unable to create temporary file: Permission denied\nfatal: failed", "file: Permission denied"),
        (PORCELAIN % "unpacker error" + "\nremote: fatal: write error: No space left on device", "write error: No"),
        ("git@far: Permission denied (publickey).\nfatal: Could not read from remote repository.", "(publickey)"),
        ("fatal: could not read Username for 'https://far': terminal prompts disabled", "could not read Username"),
        ("fatal: unable to access 'https://far/': The requested URL returned error: 503", "error: 503"),
        ("error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413", "no push of this size"),
        ("error: RPC failed; HTTP 503\nfatal: the remote end hung up unexpectedly", ""),
        (PORCELAIN % "pre-receive hook declined", ""),
    ],
)
def test_what_the_repositorys_owner_can_correct_is_told_from_a_refusal(words: str, told: str) -> None:
    found = unusable(words)
    assert (found is not None and told in found[0]) if told else found is None


async def test_who_is_asked_for_a_password_is_told_where_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "fatal: could not read Username for 'https://far': terminal prompts disabled"
    found = unusable(words)
    assert found is not None and "~/.netrc" in found[1]
    fake = tmp_path / "ssh"
    fake.write_text(f'#!/bin/sh\necho "{words}" >&2; exit 1\n')
    fake.chmod(0o700)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(fake))
    with pytest.raises(OriginAway, match=r"~/\.netrc"):
        await Repository("p", "ssh://far.example/p.git", "main", tmp_path / "p.git").tip()
