"""What a push that was not taken says to people."""

from __future__ import annotations

import pytest

from fleet.git.push import rejection

PORCELAIN = "To /srv/git/shop.git\n!\tabc:refs/heads/main\t[remote rejected] (%s)\nDone\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            PORCELAIN % "pre-receive hook declined"
            + "\nremote: no merges on Fridays        \nerror: failed to push some refs to '/srv/git/shop.git'",
            "pre-receive hook declined; no merges on Fridays",
        ),
        (PORCELAIN % "hook declined", "hook declined"),
        ("fatal: no such thing", "fatal: no such thing"),
    ],
)
def test_a_rejected_push_says_the_repositorys_own_reason(words: str, told: str) -> None:
    assert rejection(words) == told
