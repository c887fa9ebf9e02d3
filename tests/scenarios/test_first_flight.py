"""From chat to receipt: passes at once, red and mended, claims that are not believed, ends that are told apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.far_end.repositories import git
from tests.scenarios.house import House, house


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    with house() as made:
        made.start()
        yield made


def test_a_change_that_passes_at_once_lands_with_a_receipt(served: House) -> None:
    before = served.commits()[0]
    answer = served.say("/run on=macbook write GOOD at once", wait=True)
    assert answer.status == 0, answer.shown
    assert served.main() == "GOOD at once"
    assert git(served.bare, "rev-parse", "main~1") == before
    receipt = served.home / "receipts" / f"{answer.task}.json"
    assert receipt.exists()
    assert receipt.with_name(receipt.name + ".sig").exists()
    log = (served.home / "airboss.log").read_text()
    for said in (" started, 0 open tasks", f"{answer.task} requested: shop", f"{answer.task} starts on macbook"):
        assert said in log
    assert f"{answer.task} ended: landed" in log and "Traceback" not in log


def test_a_red_gate_sends_the_same_agent_back_and_the_second_turn_lands(served: House) -> None:
    answer = served.say("/run on=macbook write BAD\nthen-write GOOD after all", wait=True)
    assert answer.status == 0, answer.shown
    assert "exit status 1" in answer.shown
    assert "lacks the word: BAD" in answer.shown
    assert served.main() == "GOOD after all"
    closed = served.bodies("gate.closed")[-2:]
    assert [(body["outcome"], body["raw_wait_status"]) for body in closed] == [("failed", 256), ("passed", 0)]


def test_an_agent_that_says_all_tests_pass_is_not_believed(served: House) -> None:
    before = served.commits()[0]
    answer = served.say("/run on=macbook write BAD for ever\nshell date +%N >> work.txt", wait=True)
    assert answer.status == 1, answer.shown
    assert served.commits()[0] == before
    claims = [body["claim"] for body in served.bodies("turn.closed")]
    assert claims[-1].endswith("Done. All tests pass.")
    turns = [recorded for recorded in served.ledger("turn.started") if recorded.refs.task == answer.task]
    assert len(turns) == 3, "the first turn, and rework_turns = 2"


def test_every_card_of_a_shared_login_says_so(served: House) -> None:
    answer = served.say("/run on=evo-x2 write GOOD and said", wait=True)
    cards = [card for card in answer.shown.split("╭") if "╰" in card]
    assert len(cards) == 2, "one that is edited, and the final one"
    assert all("unsafe-same-user" in card for card in cards)


def test_what_git_ignores_stays_behind_and_what_was_committed_comes_along(served: House) -> None:
    commit = "git add new.txt; git -c user.name=a -c user.email=a@b commit -qm z"
    shell = f"echo x > build.log; echo y > new.txt; {commit}"
    answer = served.say(f"/run write GOOD tree\nshell {shell}", wait=True)
    assert answer.status == 0, answer.shown
    assert served.main("new.txt") == "y"
    assert "build.log" not in git(served.bare, "ls-tree", "--name-only", "main")


def test_a_turn_without_a_change_is_no_success(served: House) -> None:
    answer = served.say("/run tell me that all is well", wait=True)
    assert answer.status == 1
    assert "without changing a file" in answer.shown and "Reply to this card" in answer.shown
    told = f"/say {answer.task} write GOOD, as you asked"
    served.until(lambda: served.say(told).status == 0, "what it may have asked is answered")
    assert served.wait(answer.task).status == 0
    assert (served.main(), served.state(answer.task)) == ("GOOD, as you asked", "landed")
    stashed = served.say("/run Fix it.\nshell echo GOOD > work.txt; git stash", wait=True)
    assert "without changing a file" in stashed.shown
    assert "kept: the stash" in stashed.shown
    assert len(served.of(stashed.task, "turn.started")) == 2, "its agent was told once where its work is"
    gone = served.say('/run Fix it.\nshell mv "$PWD" "$PWD.gone"', wait=True)
    assert "its worktree is gone" in gone.shown
    assert served.state(gone.task) == "failed"


def test_a_change_of_what_judges_is_held_until_a_person_says_yes(served: House) -> None:
    answer = served.say('/run write GOOD held\nshell echo "print(1)" >> check.py', wait=True)
    assert answer.status == 4, answer.shown
    assert "check.py" in answer.shown
    before = served.commits()[0]
    assert served.say(f"/approve {answer.task}").status == 0
    assert served.wait(answer.task).status == 0
    assert served.commits()[0] != before


def test_a_held_change_that_is_denied_does_not_land(served: House) -> None:
    before = served.commits()[0]
    answer = served.say('/run write GOOD denied\nshell echo "print(2)" >> check.py', wait=True)
    assert answer.status == 4
    assert served.say(f"/deny {answer.task} not like this").status == 0
    assert served.wait(answer.task).status == 2
    assert served.commits()[0] == before


def test_a_reply_to_a_denied_change_lets_the_same_agent_fix_it(served: House) -> None:
    answer = served.say('/run write GOOD denied\nshell echo "print(3)" >> check.py', wait=True)
    assert served.say(f"/deny {answer.task} leave check.py alone").status == 0
    assert served.wait(answer.task).status == 2
    task = answer.task
    served.until(lambda: served.of(task, "session.ended"), "the session is closed")
    assert served.say(f"/say {task} do so\nshell git checkout HEAD -- check.py").status == 0
    served.until(lambda: served.state(task) == "landed", "the fixed change has landed")
    said = [body["prompt"] for body in served.bodies("turn.started")][-1]
    assert "Your change was not released: leave check.py alone" in said and "do so" in said
    assert served.main() == "GOOD denied"


def test_the_same_message_twice_is_one_task(served: House) -> None:
    first = served.say("/run write GOOD once", wait=True, id_="the-same")
    again = served.say("/run write GOOD once", wait=True, id_="the-same")
    assert (again.status, again.task) == (first.status, first.task)
    assert sum(event["prompt"] == "write GOOD once" for event in served.bodies("task.requested")) == 1


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("/run on=moon write GOOD", "moon"),
        ("/run repo=nowhere write GOOD", "nowhere"),
        ("/run agent=nobody write GOOD", "nobody"),
        ("/stats", "/status"),
    ],
)
def test_an_unknown_name_is_told_with_what_there_is(served: House, line: str, named: str) -> None:
    answer = served.say(line)
    assert answer.status == 2
    assert named in answer.shown


@pytest.mark.parametrize(
    "prompt",
    [
        'write GOOD it\'s "quoted" $(touch never) `x`',
        "-write leading dash\nwrite GOOD dash",
        "write GOOD ünï ✅",
    ],
)
def test_a_prompt_arrives_letter_for_letter(served: House, prompt: str) -> None:
    answer = served.say(f"/run on=macbook -- {prompt}", wait=True)
    assert answer.status == 0, answer.shown
    assert served.bodies("task.requested")[-1]["prompt"] == prompt
    assert served.main() == prompt.rpartition("write ")[2].strip()


def test_stopping_ends_the_agent_and_the_task(served: House) -> None:
    result = served.in_background("/run on=macbook chatter 2000\nwrite GOOD late")
    served.until(lambda: any("line 3" in body["text"] for body in served.bodies("agent.said")), "the agent talks")
    assert served.say("/stop").status == 0
    assert result().status == 2
    assert served.main() != "GOOD late"


def test_stopping_while_a_gate_runs_ends_the_gate_and_begins_no_further_turn(served: House) -> None:
    result = served.in_background("/run write SLOW GOOD\nthen-write GOOD never")
    served.until(lambda: _open_gates(served) == 1, "the gate runs")
    assert served.say("/stop").status == 0
    answer = result()
    assert answer.status == 2, answer.shown
    assert _open_gates(served) == 0, "what was opened is closed, also when it was cut short"
    turns = [recorded for recorded in served.ledger("turn.started") if recorded.refs.task == answer.task]
    assert len(turns) == 1
    (closed,) = served.of(answer.task, "gate.closed")
    assert (closed.event.body()["outcome"], closed.event.body()["exit"]["how"]) == ("aborted", "signalled")
    assert [entry.event.body()["outcome"] for entry in served.of(answer.task, "verdict.given")] == ["aborted"]
    assert "failed" not in answer.shown and "🔔" not in answer.shown, "who stopped it knows"
    assert "aborted" in served.say("/digest").shown


def _open_gates(served: House) -> int:
    return len(served.bodies("gate.opened")) - len(served.bodies("gate.closed"))
