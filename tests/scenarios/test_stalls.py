"""A turn that stops short: nothing of it is judged or lands, its work is kept, and a person says what comes next.

The gate is happy with half of the work, so only the outcome of the turn keeps that from landing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.store import sessions
from fleet.store.core import Store
from tests.conftest import sampled
from tests.far_end.repositories import git
from tests.scenarios.house import Answer, House, house

CONTENT: dict[str, str | bytes] = {"check.py": "print('1 passed')\n"}

#: What the program does, and what is said of its end.
ENDS = {
    "a non-zero exit": ("exit 1", "exit status 1"),
    "the shell's way to say killed": ("exit 137", "exit status 137"),
    "a signal": ("shell kill -9 $PPID", "killed by SIGKILL"),
}


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    with house(CONTENT) as made:
        made.start()
        yield made


def run(made: House, *lines: str) -> Answer:
    """Half of the work, then the lines; all of it in a second turn."""
    return made.say("/run on=macbook " + "\n".join(["write half", *lines]), wait=True)


def living(made: House, task: str) -> list[str]:
    """The processes whose directory is the task's worktree."""
    place = str(made.workspace(task))
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if str(entry.readlink()) == place:
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("what", ENDS)
def test_half_of_the_work_is_kept_and_neither_judged_nor_landed(served: House, what: str) -> None:
    line, words = ENDS[what]
    before = served.commits()
    answer = run(served, line)
    assert answer.status == 4, answer.shown
    assert served.state(answer.task) == "stalled"
    assert words in served.why(answer.task)
    assert words in answer.shown
    for label in ("Go on", "Judge as it is", "Stop"):
        assert label in answer.shown
    assert served.of(answer.task, "gate.opened", "verdict.given", "landing.done") == []
    assert served.commits() == before
    (closed,) = served.of(answer.task, "turn.closed")
    assert closed.event.body()["outcome"] == "failed" and closed.event.body()["exit"] == words
    (made,) = served.of(answer.task, "snapshot.made")
    assert served.workspace(answer.task).joinpath("work.txt").read_text() == "half\n"
    assert made.event.body()["files"] == 1
    assert living(served, answer.task) == []


def test_judge_as_it_is_judges_and_says_who_wanted_it(served: House) -> None:
    answer = run(served, "exit 1")
    assert served.say(f"/judge {answer.task}").status == 0
    assert served.wait(answer.task).status == 0
    assert served.main() == "half"
    (decided,) = served.of(answer.task, "stall.decided")
    assert decided.actor.startswith("console:")
    assert decided.source == "person"
    (made,) = served.of(answer.task, "snapshot.made")
    commit = made.event.body()["commit"]
    assert decided.event.body() == {"decision": "judge", "outcome": "failed", "commit": commit}


def test_go_on_begins_another_turn_in_the_same_worktree(served: House) -> None:
    flag = served.directory / "went-on"
    answer = run(served, f"shell test -e {flag} || (touch {flag}; kill -9 $PPID)", "shell echo more >> work.txt")
    assert answer.status == 4, answer.shown
    served.workspace(answer.task).joinpath("kept.txt").write_text("by the first turn\n")
    assert served.say(f"/go {answer.task}").status == 0
    assert served.wait(answer.task).status == 0
    assert served.main("kept.txt") == "by the first turn"
    causes = [recorded.event.body()["cause"] for recorded in served.of(answer.task, "turn.started")]
    assert causes == ["request", "go-on"]
    prompt = served.of(answer.task, "turn.started")[-1].event.body()["prompt"]
    assert "stopped before it was done" in prompt and "killed by SIGKILL" in prompt


LINK = "ln -s /usr/bin/python3 python"


def test_a_tree_that_cannot_be_taken_goes_back_to_the_agent(served: House) -> None:
    """As a virtual environment makes it. The agent is told what is in the way, and the task lands."""
    flag = served.directory / "told"
    answer = run(
        served, f"shell test -e {flag} && rm python || {{ touch {flag}; {LINK}; }}", "shell echo 1 >> n.txt"
    )
    assert answer.status == 0, answer.shown
    _, second = served.of(answer.task, "turn.started")
    assert second.event.body()["cause"] == "rework"
    assert "'python' points out of the repository" in second.event.body()["prompt"]
    assert ".gitignore" in second.event.body()["prompt"]


def test_where_the_agent_does_not_move_it_a_person_is_asked_and_the_work_is_kept(served: House) -> None:
    flag = served.directory / "person-said"
    answer = run(served, f"shell test -e {flag} && rm -f python || {LINK}", "shell echo 1 >> n.txt")
    assert answer.status == 4, answer.shown
    assert served.state(answer.task) == "stalled"
    assert "points out of the repository" in served.why(answer.task)
    assert len(served.of(answer.task, "turn.started")) == 3
    flag.touch()
    assert served.say(f"/go {answer.task}").status == 0
    assert served.wait(answer.task).status == 0
    assert "points out of the repository" in served.of(answer.task, "turn.started")[-1].event.body()["prompt"]


def test_words_go_on_with_it(served: House) -> None:
    flag = served.directory / "said"
    answer = run(served, f"shell test -e {flag} || kill -9 $PPID")
    flag.touch()
    told = served.say(f"/say {answer.task} write with my words")
    assert "continues with your message" in " ".join(told.shown.split())
    assert served.wait(answer.task).status == 0
    assert served.main() == "with my words"


def test_stop_ends_it_and_nothing_lands(served: House) -> None:
    before = served.commits()
    answer = run(served, "exit 1")
    served.say(f"/stop {answer.task}")
    assert served.wait(answer.task).status == 2
    assert served.state(answer.task) == "stopped"
    assert served.commits() == before
    assert git(served.workspace(answer.task), "status", "--porcelain") != ""


def test_a_stalled_question_is_not_answered(served: House) -> None:
    answer = served.say("/ask on=macbook why?\nexit 1", wait=True)
    assert answer.status == 3, answer.shown
    assert served.state(answer.task) == "stalled"
    assert "answered" not in answer.shown
    assert "exit status 1" in answer.shown and "Go on" in answer.shown
    assert served.of(answer.task, "snapshot.made") == []
    assert served.say(f"/judge {answer.task}").status == 2
    served.say(f"/stop {answer.task}")
    assert served.wait(answer.task).status == 2


def test_a_turn_that_changed_nothing_can_go_on_but_not_be_judged(served: House) -> None:
    answer = served.say("/run on=macbook exit 1", wait=True)
    assert answer.status == 4
    assert "Judge as it is" not in answer.shown
    assert served.say(f"/judge {answer.task}").status == 2
    assert served.state(answer.task) == "stalled"
    served.say(f"/stop {answer.task}")


@pytest.mark.parametrize("verb", sampled(["go", "judge", "stop"], 1))
def test_it_still_waits_after_a_power_cut_and_each_word_counts(verb: str) -> None:
    with house(CONTENT) as made:
        made.start()
        flag = made.directory / "went-on"
        answer = run(made, f"shell test -e {flag} || kill -9 $PPID")
        assert answer.status == 4, answer.shown
        made.kill()
        made.start()
        assert made.wait(answer.task).status == 4
        assert len(made.of(answer.task, "turn.closed")) == 1
        flag.touch()
        made.say(f"/{verb} {answer.task}")
        assert made.wait(answer.task).status == (2 if verb == "stop" else 0)
        landed = made.of(answer.task, "landing.done")
        assert len(landed) == (0 if verb == "stop" else 1)


def test_work_that_cannot_be_handed_over_is_kept_and_the_card_says_why() -> None:
    with house(CONTENT) as made:
        with (made.home / "fleet.toml").open("a") as settings:
            settings.write("\n[limits]\nsnapshot_paths = 1\n")
        made.start()
        flag = made.directory / "smaller"
        lines = f"shell touch a b; test -e {flag} && rm a b; true", f"shell test -e {flag} || kill -9 $PPID"
        answer = run(made, *lines)
        assert answer.status == 4, answer.shown
        assert "without a snapshot" in " ".join(answer.shown.replace("│", " ").split())
        assert "Judge as it is" not in answer.shown
        assert made.workspace(answer.task).joinpath("a").exists()
        flag.touch()
        made.say(f"/go {answer.task}")
        assert made.wait(answer.task).status == 0
        assert made.main() == "half"


def test_a_controller_that_dies_as_the_turn_closes_asks_once() -> None:
    with house(CONTENT) as made:
        made.start("turn-closed")
        begun = made.say("/run on=macbook write half\nexit 1")
        made.died()
        made.start()
        assert made.wait(begun.task).status == 4
        assert [len(made.of(begun.task, kind)) for kind in ("turn.closed", "snapshot.made")] == [1, 1]
        assert made.of(begun.task, "gate.opened") == []


def test_a_controller_that_dies_as_the_agent_goes_on_begins_one_turn() -> None:
    with house(CONTENT) as made:
        made.start("pipe-committed:2")
        flag = made.directory / "went-on"
        answer = run(made, f"shell test -e {flag} || kill -9 $PPID")
        flag.touch()
        made.say(f"/go {answer.task}")
        made.died()
        made.start()
        assert made.wait(answer.task).status == 0
        assert [len(made.of(answer.task, kind)) for kind in ("stall.decided", "turn.started")] == [1, 2]


def test_a_word_said_just_before_a_power_cut_is_acted_on() -> None:
    with house(CONTENT) as made:
        made.start()
        answer = run(made, "exit 1")
        made.say(f"/judge {answer.task}")
        made.kill()
        made.start()
        assert made.wait(answer.task).status == 0
        assert made.main() == "half"
        assert len(made.of(answer.task, "stall.decided")) == 1


def test_a_rework_turn_that_stops_short_is_not_spent() -> None:
    """One rework turn is allowed. The first of them dies; after it goes on and is red, there is still one."""
    gate = 'import pathlib, sys\nsys.exit(0 if "GOOD" in pathlib.Path("work.txt").read_text() else 1)\n'
    with house({"check.py": gate}) as made:
        made.start()
        flag = made.directory / "died"
        dies = f"shell grep -q half work.txt && test -e {flag} && rm {flag} && kill -9 $PPID; true"
        flag.touch()
        answer = made.say(f"/run on=macbook {dies}\nwrite half\nshell date +%N > when.txt", wait=True)
        assert answer.status == 4, answer.shown
        assert not flag.exists()
        causes = [recorded.event.body()["cause"] for recorded in made.of(answer.task, "turn.started")]
        assert causes == ["request", "rework"]
        made.say(f"/go {answer.task}")
        assert made.wait(answer.task).status == 1
        causes = [recorded.event.body()["cause"] for recorded in made.of(answer.task, "turn.started")]
        assert causes == ["request", "rework", "go-on", "rework", "rework"]


def test_what_stands_in_the_store(served: House) -> None:
    answer = run(served, "exit 3")
    with Store.open(f"sqlite:///{served.home / 'airboss.db'}", create=False) as store, store.transaction() as tx:
        session = sessions.of_task(tx, answer.task)[-1]
        (turn,) = sessions.turns(tx, session.id)
    assert (turn.outcome, turn.exit) == ("failed", "exit status 3")
    assert turn.snapshot != "" and session.ended_us == 0
    served.say(f"/stop {answer.task}")
