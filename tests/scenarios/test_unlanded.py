"""Work that did not land is never lost: it is listed wherever it is, reclaimed only when it is safe, and deleted
only by a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import sampled
from tests.far_end.repositories import git
from tests.scenarios.house import House, house

DAYS = 86_400


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    with house() as made:
        (made.directory / "clock").write_text("0")
        made.configure(limits={"workspace_retention": "2d"})
        made.start(AIRBOSS_CLOCK=str(made.directory / "clock"))
        yield made


def later(made: House, days: int) -> None:
    """The wall clock jumps; every alarm that is due rings."""
    clock = made.directory / "clock"
    clock.write_text(str(int(clock.read_text()) + days * DAYS))


def kept_refs(made: House) -> list[str]:
    return git(made.home / "repos" / "shop.git", "for-each-ref", "--format=%(refname)", "refs/airboss/kept").split()


def refused(made: House, *lines: str) -> str:
    """A task whose gate never passes: its work did not land."""
    work = ["write BAD work", "shell echo again >> tries.txt", *lines]  # without a new tree it would stall
    answer = made.say("/run on=macbook " + "\n".join(work), wait=True)
    assert answer.status == 1, answer.shown
    made.until(lambda: made.of(answer.task, "session.ended"), "its session is closed")
    return answer.task


def test_a_worktree_goes_once_its_work_is_safe_and_comes_back_with_it(served: House) -> None:
    changed = refused(served)  # the older one: it is looked at before the other is reclaimed
    safe = refused(served, "shell echo 1 > new.txt; echo 2 > ignored.log")
    served.workspace(changed).joinpath("mine.txt").write_text("by a person, after the end\n")
    shown = served.say("/unlanded").shown
    assert "2 changes did not land" in shown and f"{safe} shop · failed" in shown
    later(served, 1)
    assert served.say("/status").status == 0
    assert served.workspace(safe).exists(), "it is not old enough"
    later(served, 2)
    served.until(lambda: not served.workspace(safe).exists(), "the safe worktree is reclaimed")
    assert served.of(safe, "tree.decided")[0].event.body()["decision"] == "reclaim"
    served.until(lambda: served.of(safe, "tree.removed"), "it is settled")
    assert served.workspace(changed).joinpath("mine.txt").exists(), "it changed since: never removed"
    card = served.say(f"/unlanded {safe}").shown
    assert "snapshot" in card and "worktree on" not in card
    for label in ("Diff", "Go on", "Land it", "Keep", "Delete"):
        assert label in card
    assert "BAD work" in served.say(f"/diff {safe}").shown
    assert served.say(f"/go {safe}").status == 0
    served.until(lambda: served.workspace(safe).exists(), "the worktree is made anew")
    served.wait(safe)
    place = served.workspace(safe)
    assert place.joinpath("new.txt").read_text() == "1\n"
    assert git(place, "rev-parse", "HEAD") == served.of(safe, "session.placed")[0].event.body()["base"]
    last = served.of(safe, "turn.started")[-1].event.body()
    assert last["cause"] == "go-on" and "it ended as failed" in last["prompt"]


def test_land_it_runs_the_gates_on_the_work_as_it_is_now(served: House) -> None:
    task = refused(served)
    served.workspace(task).joinpath("work.txt").write_text("GOOD, by a person\n")
    assert served.say(f"/unlanded land {task}").status == 0
    assert served.wait(task).status == 0
    assert served.main() == "GOOD, by a person"
    assert served.of(task, "verdict.given")[-1].event.body()["outcome"] == "passed"
    served.until(lambda: len(served.of(task, "session.ended")) == 2, "it is closed again")
    assert not any(f"-{task}.1-" in ref for ref in kept_refs(served)), "what landed needs no ref"
    assert f"{task} shop" not in served.say("/unlanded").shown


def test_a_fork_begins_with_a_sessions_work_on_its_base(served: House) -> None:
    task = served.say("/run on=macbook write BAD work\nshell echo 1 > forked.txt", wait=True).task
    served.say(f"/stop {task}")
    served.until(lambda: served.of(task, "session.ended"), "its session is closed")
    assert served.say("/run on=macbook write GOOD, meanwhile", wait=True).status == 0  # the base moves on
    answer = served.say(f"/fork {task} shell cat work.txt >> forked.txt; echo GOOD, both > work.txt", wait=True)
    placed = [served.of(each, "session.placed")[0].event.body()["base"] for each in (task, answer.task)]
    assert placed[0] == placed[1] != served.commits()[0]
    snapshot = served.of(task, "snapshot.made")[-1].event.body()["commit"]
    assert served.of(answer.task, "task.forked")[0].event.body() == {
        "session": f"{task}.1",
        "snapshot": snapshot,
        "base": placed[0],
    }
    made = served.of(answer.task, "snapshot.made")[0].event.body()
    assert made["base"] == placed[0] and made["files"] == 2
    assert "BAD work" in served.say(f"/diff {answer.task}").shown, "the fork saw it"
    assert served.say(f"/unlanded delete {task} yes").status == 0
    served.until(lambda: served.of(task, "tree.removed"), "the first one's work is deleted")
    assert served.say(f"/fork {task} go on").status == 2


def test_a_stopped_task_is_saved_and_delete_is_asked_once_and_recorded_first(served: House) -> None:
    started = served.say("/run on=macbook write half\nshell sleep 60").task
    served.until(lambda: served.state(started) == "running", "it runs")
    served.until(lambda: "half" in served.workspace(started).joinpath("work.txt").read_text(), "half is done")
    served.say(f"/stop {started}")
    served.wait(started)
    served.until(lambda: served.of(started, "session.ended"), "its session is closed")
    assert "half" in served.say(f"/diff {started}").shown, "the work of a stopped turn is a snapshot too"
    asked = served.say(f"/unlanded delete {started}")
    assert "Delete the work of" in asked.shown and served.workspace(started).exists()
    place, ref = served.workspace(started), f"-{started}.1-"
    assert any(ref in name for name in kept_refs(served))
    assert served.say(f"/unlanded delete {started} yes").status == 0
    served.until(lambda: served.of(started, "tree.removed"), "it is deleted")
    decided = served.of(started, "tree.decided")[0]
    assert decided.event.body()["decision"] == "delete" and decided.actor.startswith("console:")
    assert decided.seq < served.of(started, "tree.removed")[0].seq
    assert not place.exists() and not any(ref in name for name in kept_refs(served))
    assert served.say(f"/unlanded go {started}").status == 2, "nothing is left to continue"


@pytest.mark.parametrize("point", sampled(["tree-decided", "tree-removed"], 1))
def test_a_kill_between_the_steps_of_a_removal_loses_nothing_and_ends_it_once(point: str) -> None:
    with house() as made:
        made.configure(limits={"workspace_retention": "1s"})
        clock: Path = made.directory / "clock"
        clock.write_text("0")
        made.start(failpoint=point, AIRBOSS_CLOCK=str(clock))
        task = refused(made)
        later(made, 1)
        assert made.died() != 0
        made.start(AIRBOSS_CLOCK=str(clock))
        made.until(lambda: made.of(task, "tree.removed"), "the removal is finished")
        assert not made.workspace(task).exists()
        assert [len(made.of(task, kind)) for kind in ("tree.decided", "tree.removed")] == [1, 1]
        assert len(kept_refs(made)) == 1
        assert "BAD work" in made.say(f"/diff {task}").shown
