"""``airboss review try`` against an endpoint over HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from bot.cli import main
from bot.doctor.reviewers import check_reviewers
from bot.local.reviews import agent_reviewers
from fleet.config import Secrets, load_fleet
from gates.review.trial import SAMPLE
from tests.far_end.repositories import commit, make_bare
from tests.far_end.reviewer import FakeReviewer, Think, attentive, obedient
from tests.schema import load, problems

LISTED = {"name": "qwen3-coder:30b", "digest": "ab" * 32, "details": {"family": "qwen3moe"}}
KEY = "k-0123456789abcdef"


def home(directory: Path, server: FakeReviewer, more: str = "") -> str:
    (directory / "fleet.toml").write_text(
        f'[reviewers.local]\nurl = "{server.url}"\nmodel = "qwen3-coder:30b"\nkey = "KEY"\n{more}'
    )
    (directory / ".env").write_text(f"KEY={KEY}\n")
    return str(directory)


async def tried(*argv: str) -> int:
    return await asyncio.to_thread(main, list(argv))


async def test_it_shows_who_answers_and_what_it_catches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeReviewer(attentive(SAMPLE), listing=[LISTED]).serving() as server:
        where = home(tmp_path, server)
        assert await tried("--home", where, "review", "try", "--json") == 0
        said = capsys.readouterr().out
        body = json.loads(said)
        assert problems(body, load("review-try.json")) == []
        (found,) = body["reviewers"]
        assert (found["families"], found["identity"], found["digest"]) == (["qwen"], "asserted", "ab" * 32)
        assert (found["caught"], found["rounds"], found["objections"]) == (3, 3, 0)
        assert await tried("--home", where, "review", "try", "local", "--rounds", "1") == 0
        assert "defects caught  1 of 1" in capsys.readouterr().out
        assert KEY not in said + caplog.text


async def test_a_reviewer_that_misses_defects_is_no_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeReviewer(obedient).serving() as server:
        assert await tried("--home", home(tmp_path, server), "review", "try") == 1
    assert "defects caught  0 of 3" in capsys.readouterr().out


async def test_a_reviewer_that_nobody_reaches_is_unavailable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeReviewer(obedient).serving() as server:
        pass
    assert await tried("--home", home(tmp_path, server), "review", "try") == 3
    assert "nobody" in capsys.readouterr().out


async def test_a_reviewer_that_is_not_configured_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FakeReviewer(url="http://127.0.0.1:1/v1")
    assert await tried("--home", home(tmp_path, server), "review", "try", "other") == 2
    assert "[reviewers.other]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('url = "http://example.com/v1"\nmodel = "qwen3"\nkey = "KEY"', "clear text"),
        ('url = "https://a:b@example.com/v1"\nmodel = "qwen3"', "more than an address"),
        ('url = "https://example.com/v1"\nmodel = "house-model"', "no single known family"),
        ('url = "ftp://example.com/v1"\nmodel = "qwen3"', "not the address"),
    ],
)
async def test_a_reviewer_that_could_not_be_trusted_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    (tmp_path / "fleet.toml").write_text(f"[reviewers.x]\n{line}\n")
    assert await tried("--home", str(tmp_path), "review", "try") == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("think", "level", "words"),
    [
        (attentive(SAMPLE), "ok", "qwen3-coder:30b (qwen, asserted) answered in"),
        (obedient, "warn", "missed a planted defect"),
        (lambda _: "hello", "bad", "not in the required form"),
    ],
)
async def test_doctor_asks_each_reviewer_once(tmp_path: Path, think: Think, level: str, words: str) -> None:
    async with FakeReviewer(think).serving() as server:
        config = load_fleet(Path(home(tmp_path, server)) / "fleet.toml")
        async with agent_reviewers(tmp_path, config, Secrets({})) as agents:
            (found,) = await check_reviewers(config, Secrets.load(tmp_path), agents)
    assert str(found.level) == level
    assert words in found.what
    assert len(server.asked) == 1


async def test_doctor_sees_that_a_key_is_missing(tmp_path: Path) -> None:
    server = FakeReviewer(url="http://127.0.0.1:1/v1")
    config = load_fleet(Path(home(tmp_path, server)) / "fleet.toml")
    async with agent_reviewers(tmp_path, config, Secrets({})) as agents:
        (found,) = await check_reviewers(config, Secrets({}), agents)
    assert found.what == ".env has no KEY"


def branch(directory: Path) -> str:
    """A repository whose ``HEAD`` adds a file to ``HEAD~1``."""
    bare = make_bare(directory / "demo.git", {"a.txt": "a\n"})
    commit(bare.with_suffix(".work"), {"shop/price.py": SAMPLE})
    return str(bare.with_suffix(".work"))


async def asked(where: str, repo: str, *more: str) -> int:
    change = ("--repo", repo, "--base", "HEAD~1", "--head", "HEAD")
    return await tried("--home", where, "review", "ask", *change, *more)


async def test_a_reviewer_is_asked_about_any_branch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeReviewer(attentive(SAMPLE)).serving() as server:
        where, repo = home(tmp_path, server), branch(tmp_path)
        assert await asked(where, repo, "--author", "anthropic") == 0
        assert capsys.readouterr().out == "no objection from qwen3-coder:30b (qwen, asserted)\n"
        assert await asked(where, repo, "--author", "qwen") == 3
        assert len(server.asked) == 1
        server.think = attentive(SAMPLE.replace("TAX = ", ""))
        capsys.readouterr()
        assert await asked(where, repo, "--json") == 1
        body = json.loads(capsys.readouterr().out)
        assert problems(body, load("review-ask.json")) == []
        assert [(each["file"], each["line"]) for each in body["findings"]] == [("shop/price.py", 3)]
        server.think = obedient
        assert await asked(where, repo) == 3
        assert capsys.readouterr().out.startswith("no review: the reviewer missed the planted defect")


async def test_a_branch_that_does_not_exist_is_a_mistake(tmp_path: Path) -> None:
    async with FakeReviewer().serving() as server:
        where, repo = home(tmp_path, server), branch(tmp_path)
        assert await tried("--home", where, "review", "ask", "--repo", repo, "--base", "x", "--head", "HEAD") == 2
        assert await asked(where, str(tmp_path / "nowhere")) == 2
