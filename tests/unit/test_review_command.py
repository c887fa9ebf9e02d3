"""``/review``: a reviewer is asked about a branch, once, and the card becomes its answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cards import Card, shown
from bot.telling.asked_reviews import AskedReviews
from fleet.config import Secrets
from fleet.errors import StoreUnavailable
from fleet.faults import Fault, Point, injected, site_of
from fleet.git.repository import Repository
from fleet.machines.executors import Executors
from fleet.store.chat import settings
from gates.review.trial import SAMPLE
from tests.chat_house import FLEET, OTTO, VERA, House, house
from tests.far_end.repositories import advance, commit, git, make_bare
from tests.far_end.reviewer import FakeReviewer, attentive

FLAWED = SAMPLE.replace("TAX = ", "")


def reviews(there: House, directory: Path) -> AskedReviews:
    """What a new controller would run; ``shop`` has the branch ``feature``."""
    bare = directory / "shop.git"
    if not bare.exists():
        make_bare(bare, {"a.txt": "a\n"})
        commit(bare.with_suffix(".work"), {"shop/price.py": FLAWED})
        git(bare.with_suffix(".work"), "push", "-q", str(bare), "HEAD:refs/heads/feature")
        git(bare.with_suffix(".work"), "reset", "-q", "--hard", "HEAD~1")
        advance(bare, {"later.txt": "the base moved on\n"})
    repository = Repository("shop", str(bare), "main", directory / "mirror.git")
    return AskedReviews(
        there.outbox, lambda: there.config, Secrets({}), lambda _: repository, Executors(there.config, there.home)
    )


def fleet(server: FakeReviewer) -> str:
    return f'{FLEET}\n[reviewers.local]\nurl = "{server.url}"\nmodel = "qwen3-coder:30b"\n'


def text(card: Card) -> str:
    return " ".join([shown(card.title), *map(shown, card.lines), shown((card.body,)) if card.body else ""])


async def waiting(there: House) -> int:
    return len(await there.store.read(lambda tx: settings.beginning(tx, "review:")))


async def test_the_card_becomes_the_answer_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    async with FakeReviewer(attentive(SAMPLE)).serving() as server:
        server.think = attentive(FLAWED)
        async with house(tmp_path / "h", fleet_toml=fleet(server)) as there:
            result, (card,) = await there.say("/review feature", OTTO)
            assert result.status == 0 and "Asking local" in text(card)
            asked = reviews(there, tmp_path)
            await asked.answer_all()
            await there.settle()
            said = text(there.last())
            assert "review · shop feature" in said and "no objection from qwen3-coder:30b" in said, said
            assert "author's family was not compared" in said and "decides nothing" in said
            await asked.answer_all()
            assert len(server.asked) == 1 and await waiting(there) == 0
            assert "later.txt" not in server.asked[0].raw, "what the base did meanwhile is not the branch's"


async def test_an_objection_is_shown_with_its_place(tmp_path: Path) -> None:
    async with (
        FakeReviewer(attentive(SAMPLE)).serving() as server,
        house(tmp_path / "h", fleet_toml=fleet(server)) as there,
    ):
        await there.say("/review feature author=anthropic by=local repo=shop", OTTO)
        await reviews(there, tmp_path).answer_all()
        await there.settle()
        said = text(there.last())
        assert "1 objection from" in said and "blocking: shop/price.py:3" in said, said
        assert "not compared" not in said


async def test_an_answer_whose_commit_fails_is_asked_for_again_and_told(tmp_path: Path) -> None:
    async with (
        FakeReviewer(attentive(FLAWED)).serving() as server,
        house(tmp_path / "h", fleet_toml=fleet(server)) as there,
    ):
        await there.say("/review feature", OTTO)
        with injected(Fault(Point.STORE_COMMIT, site=site_of(AskedReviews._tell))), pytest.raises(StoreUnavailable):
            await reviews(there, tmp_path).answer_all()
        assert await waiting(there) == 1
        await reviews(there, tmp_path).answer_all()
        await there.settle()
        assert "no objection" in text(there.last()) and await waiting(there) == 0


async def test_a_bug_is_said_once_and_holds_up_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str) -> Repository:
        raise ZeroDivisionError(name)

    async with house(tmp_path, fleet_toml=fleet(FakeReviewer(url="http://127.0.0.1:1/v1"))) as there:
        await there.say("/review feature", OTTO)
        await there.say("/review other", OTTO)
        asked = AskedReviews(
            there.outbox, lambda: there.config, Secrets({}), broken, Executors(there.config, there.home)
        )
        await asked.answer_all()
        await there.settle()
        assert "internal error" in text(there.last()) and await waiting(there) == 0
        assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("branch", "words"),
    [
        ("nope", "it has no branch nope; it has main, feature"),
        ("--upload-pack=touch", "is not usable"),
        ("a..b", "is not usable"),
    ],
)
async def test_a_branch_that_is_not_there_is_said_on_the_card(tmp_path: Path, branch: str, words: str) -> None:
    async with (
        FakeReviewer(attentive(SAMPLE)).serving() as server,
        house(tmp_path / "h", fleet_toml=fleet(server)) as there,
    ):
        await there.say(f"/review {branch}", OTTO)
        await reviews(there, tmp_path).answer_all()
        await there.settle()
        assert words in text(there.last()), text(there.last())
        assert not server.asked and await waiting(there) == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/review", "it takes one branch"),
        ("/review a b", "it takes one branch"),
        ("/review feature by=other", "[reviewers.other]"),
        ("/review feature repo=other", "no repository called"),
    ],
)
async def test_what_cannot_be_asked_is_said_at_once(tmp_path: Path, line: str, words: str) -> None:
    async with house(tmp_path, fleet_toml=fleet(FakeReviewer(url="http://127.0.0.1:1/v1"))) as there:
        result, (card,) = await there.say(line, OTTO)
        assert result.status == 2 and words in text(card), text(card)
        assert await waiting(there) == 0


async def test_without_a_reviewer_or_the_right_nobody_is_asked(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        result, (card,) = await there.say("/review feature", OTTO)
        assert result.status == 2 and "airboss review try" in text(card)
        result, _ = await there.say("/review feature", VERA)
        assert result.status == 2 and await waiting(there) == 0
