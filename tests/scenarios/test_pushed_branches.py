"""``mode = "branch"``: what passed is pushed as ``airboss/t7``, and the base branch stays as it is."""

from __future__ import annotations

import json

import pytest

from tests.conftest import sampled
from tests.far_end.repositories import advance, git
from tests.scenarios.house import House, house


def _configure(built: House) -> None:
    built.configure(repos={"shop": {"url": str(built.bare), "agent": "plain", "mode": "branch"}})


def _words(shown: str) -> str:
    return " ".join(shown.replace("│", " ").split())


@pytest.mark.parametrize("name", sampled(["landing-intended", "landing-swapped", "landing-done"], 1))
def test_what_passed_is_pushed_once_as_a_branch_and_every_card_says_so(name: str) -> None:
    with house() as built:
        _configure(built)
        built.start(failpoint=name)
        base = git(built.bare, "rev-parse", "main")
        go = built.directory / "go"
        task = built.say(f"/run shell while [ ! -e {go} ]; do sleep 0.02; done\nwrite GOOD on a branch").task
        built.until(lambda: built.of(task, "pipe.started"), "it works")
        moved = advance(built.bare, {"theirs.txt": "theirs\n"})
        go.touch()
        assert built.died() == -9, f"{name} is on no such task's way"
        built.start()
        assert built.wait(task).status == 0, built.why(task)
        assert built.state(task) == "pushed"
        assert git(built.bare, "rev-parse", "main") == moved, "the base is not touched"
        assert git(built.bare, "show", f"airboss/{task}:work.txt") == "GOOD on a branch"
        assert git(built.bare, "rev-parse", f"airboss/{task}^") == base, "the tree that was judged, on its own base"
        (done,) = built.of(task, "landing.done")
        assert done.event.body()["ref"] == f"refs/heads/airboss/{task}"
        predicate = json.loads((built.home / "receipts" / f"{task}.json").read_text())["predicate"]
        assert predicate["landed"]["ref"] == f"refs/heads/airboss/{task}"
        assert predicate["landed"]["replaced"] == base
        assert "is not on the base branch" in _words(built.say(f"/undo {task}").shown)
        assert task not in built.say("/unlanded").shown
        assert f"{task} shop · pushed" in _words(built.say("/history").shown)
        built.until(lambda: not built.workspace(task).exists(), "it is in the repository, so its worktree goes")


def test_a_branch_of_that_name_that_is_not_ours_is_left_as_it_is() -> None:
    with house() as built:
        _configure(built)
        built.start()
        theirs = git(built.bare, "rev-parse", "main")
        git(built.bare, "update-ref", "refs/heads/airboss/t1", theirs)
        answer = built.say("/run write GOOD too late", wait=True)
        assert answer.status == 2
        assert "a branch airboss/t1 is there already" in built.why("t1")
        assert git(built.bare, "rev-parse", "airboss/t1") == theirs
        git(built.bare, "update-ref", "-d", "refs/heads/airboss/t1")
        built.until(lambda: built.say("/judge t1").status == 0, "its work is kept, and it may land")
        built.until(lambda: built.state("t1") == "pushed", "it is pushed after all")
        assert git(built.bare, "show", "airboss/t1:work.txt") == "GOOD too late"
