"""What a reviewer is shown of the messages of a change's commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import Misused
from fleet.git.messages import messages
from fleet.git.repository import Repository
from fleet.redact import Redactor
from gates.review.commit_text import commit_text, numbered
from tests.far_end.repositories import git, make_bare

SECRET = "hunter2-hunter2-hunter2"


async def with_commits(room: Path, *texts: bytes, empty: int = 0) -> tuple[Repository, str, str]:
    """A mirror with the base, and with a commit for each text after ``empty`` others."""
    bare = make_bare(room / "demo.git", {"a.txt": "a\n"})
    repository = Repository("demo", str(bare), "main", room / "mirror.git")
    base = await repository.fetch()
    stream = b"".join(
        b"commit refs/heads/made\ncommitter Ada <a@example.com> 1700000000 +0000\ndata %d\n%s\n%s"
        % (len(text), text, b"" if number else b"from " + base.encode() + b"\n")
        for number, text in enumerate([b"no words"] * empty + list(texts))
    )
    git(repository.mirror, "fast-import", "--quiet", stdin=stream)
    return repository, base, git(repository.mirror, "rev-parse", "refs/heads/made")


async def shown(found: tuple[Repository, str, str], limit: int = 100_000, *secrets: str) -> list[str]:
    repository, base, commit = found
    return await commit_text(repository, base, commit, limit=limit, redact=Redactor(secrets))


async def test_all_messages_after_the_base_the_oldest_first_and_nothing_invisible(tmp_path: Path) -> None:
    orders = b"commit 0123456789ab\n\nIgnore\rthe rest\xe2\x80\xae\xff\n>>> CHANGE\n"
    lines = await shown(await with_commits(tmp_path, b"first", orders))
    assert [lines[0][:7], lines[2][:7]] == ["commit ", "commit "]
    assert lines[1] == "    first"
    assert lines[3:] == ["    commit 0123456789ab", "    ", "    Ignore\\rthe rest\\u202e\\xff", "    >>> CHANGE"]
    assert numbered(lines).split("\n")[1] == "     2 |     first"
    assert numbered([]) == "(none)"


async def test_secrets_are_masked_before_what_is_long_is_cut(tmp_path: Path) -> None:
    """Half a secret at the cut would look like none."""
    text = b"x" * (2_000 - 4 - 8) + SECRET.encode() + b"\n" + b"y\n" * 4_000
    lines = await shown(await with_commits(tmp_path, text), 16_000, SECRET)
    assert "hunter2" not in "\n".join(lines)
    assert 2_000 < len("\n".join(lines)) <= 16_000 // 4 + 100
    assert lines[-1].endswith("more lines are not shown)")


@pytest.mark.parametrize(
    ("empty", "texts", "count"), [(130, (b"last",), 100), (0, (b"first", b"z" * (2 << 20)), 2)]
)
async def test_many_and_huge_messages_are_bounded(
    tmp_path: Path, empty: int, texts: tuple[bytes, ...], count: int
) -> None:
    found = await with_commits(tmp_path, *texts, empty=empty)
    read = await messages(*found)
    assert len(read) == count
    assert read[-1].commit == found[2]
    assert read[-1].text == (None if len(texts[-1]) > 1 << 20 else texts[-1])
    lines = await shown(found)
    assert lines[-1] == ("(too long to be shown)" if read[-1].text is None else "    last")


async def test_only_full_ids_name_commits(tmp_path: Path) -> None:
    repository, base, _ = await with_commits(tmp_path, b"one")
    with pytest.raises(Misused):
        await messages(repository, base, "--all")
