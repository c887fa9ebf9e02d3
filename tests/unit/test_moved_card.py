"""What a phone shows when a base moved under a task, and when its change was pushed instead of landed."""

from __future__ import annotations

import pytest

from bot.cards import shown
from bot.telling.outcome_cards import landed_card, moved_card
from bot.telling.progress import Progress
from fleet.events import LandingDone, SessionMoves
from fleet.events.merkle import Frontier
from fleet.landing import messages
from fleet.model import ChatRef, Task, TaskMode, TaskState

TASK = Task(
    id="t3",
    repo="shop",
    agent="claude",
    machine="",
    prompt="fix the cart",
    mode=TaskMode.CHANGE,
    state=TaskState.LANDING,
    why="",
    requester="console:here:ada",
    origin=ChatRef("console", "c1"),
    created_us=0,
    updated_us=0,
)
ONE, TWO = "1" * 40, "2" * 40


def test_a_move_names_the_files_in_a_few_lines_however_many_conflict() -> None:
    paths = tuple(f"src/{n}.py" for n in range(50))
    moves = SessionMoves(ONE, TWO, ONE, TWO, paths, messages.moved(paths, "main"))
    card = moved_card(TASK, moves, "claude on evo-x2")
    said = [shown(part) for part in (card.title, *card.lines)]
    assert said[0] == "t3 · the base moved"
    assert "main moved meanwhile and conflicts in src/0.py" in said[2] and "and 45 more" in said[2]
    assert said[3] == "its agent resolves the conflict"
    assert len(said) == 4


@pytest.mark.parametrize(
    ("ref", "title"),
    [
        ("refs/heads/airboss/t3", "t3 · pushed as airboss/t3"),
        ("refs/heads/main", "t3 · landed on main"),
        ("refs/heads/airboss/t4", "t3 · landed on airboss/t4"),
    ],
)
def test_a_pushed_change_is_never_said_to_have_landed(ref: str, title: str) -> None:
    grown = Frontier()
    grown.add(bytes(32))
    card = landed_card(TASK, LandingDone(ref, ONE, TWO, ONE, 1), Progress(), "claude on evo-x2", grown)
    assert shown(card.title) == title
    assert card.footer == "claude on evo-x2 · root 000000000000… of 1" and card.root == f"1:{'0' * 64}"
