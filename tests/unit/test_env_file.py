"""``.env``: what would be passed over in silence is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config import Secrets
from fleet.errors import Misused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('A=1\n\nTOKEN="s3cret\nB=2\n', "line 3: the quote of TOKEN is not closed"),
        ("A='it's3cret'\n", "line 1: the quote of A is not closed, or something follows it"),
        ("TOKEN='s3cret\nOTHER='x\nEND='1'\n", "line 1: the quote of TOKEN is not closed"),
        ("TOKEN='s3cret\nOTHER=2\n'\n", "line 1: the quote of TOKEN closes behind a line that sets another name"),
        ("A=1\n# s3cret\nexport A=2\n", "line 3 sets A, as line 1 does, to another value"),
        ("A=1\ns3cret\n", "line 2 is not NAME=value"),
        ("A: s3cret\n", "line 1 is not NAME=value"),
        ('"A"=s3cret\n', "line 1 is not NAME=value"),
    ],
)
def test_a_line_of_secrets_that_would_be_passed_over_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / ".env").write_text(text)
    with pytest.raises(Misused) as ended:
        Secrets.load(tmp_path)
    assert said in ended.value.cause and "s3cret" not in str(ended.value)


def test_a_value_of_several_lines_and_the_same_line_twice_are_no_mistakes(tmp_path: Path) -> None:
    key = "-----BEGIN KEY-----\nMC4CAQ=\nAb=\n-----END KEY-----"
    (tmp_path / ".env").write_text(f'KEY="{key}"\nA=1\n\n\nA=1  # again\nEMPTY=\n')
    secrets = Secrets.load(tmp_path)
    assert (secrets.get("KEY"), secrets.get("A"), secrets.get("EMPTY")) == (key, "1", "")
