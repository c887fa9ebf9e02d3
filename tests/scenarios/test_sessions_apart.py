"""Two tasks on one login: an agent that reaches for the other's work, and one that takes too much."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.house import House, house

FILL = "number=0; while :; do number=$((number+1)); head -c 4000000 /dev/zero > /tmp/part-$number || exit; done"
HOG = "python3 -c 'held = [b\"x\" * 10**6 for _ in iter(int, 1)]'"


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    with house(walls=True) as made:
        made.configure(
            machines={
                "evo-x2": {
                    **made.machines["evo-x2"],
                    "run_memory": "200M",
                    "run_processes": 100,
                    "run_disk": "100M",
                }
            }
        )
        made.start()
        yield made


def test_an_agent_cannot_change_the_work_of_another_task(served: House) -> None:
    victim = served.say("/run on=evo-x2 agent=plain write BAD victim\nshell date +%N > when.txt", wait=True)
    assert victim.status == 1, "its workspace stays to be read"
    theirs = served.workspace(victim.task)
    written = (theirs / "work.txt").read_text()
    script = f"for each in {theirs.parent}/*; do echo stolen >> $each/work.txt; done; ls {theirs.parents[1]}"
    thief = served.say(
        f"/run on=evo-x2 agent=plain do\nshell {script}\nshell echo GOOD thief > work.txt", wait=True
    )
    assert thief.status == 0, thief.shown
    assert (theirs / "work.txt").read_text() == written
    assert "BAD victim" in written
    (body,) = [item.event.body() for item in served.of(thief.task, "pipe.ended")]
    assert (body["processes"], body["files"], body["vendor_login"]) == ("own", "own", "none")
    said = " ".join(str(item.event.body()["text"]) for item in served.of(thief.task, "agent.said"))
    assert "work" in said and "pipes" not in said and "gates" not in said


def test_a_bomb_and_a_hog_in_a_session_end_and_status_answers_meanwhile(served: House) -> None:
    bomb = "while :; do sleep 60 & sleep 0.01; done"
    begun = served.say(f"/run on=evo-x2 agent=plain do\nshell {bomb}")
    served.until(lambda: served.of(begun.task, "turn.started"), "the agent works")
    assert served.say("/status").status == 0
    assert served.wait(begun.task).status == 4, "stalled: its agent was ended"
    (closed,) = [item.event.body() for item in served.of(begun.task, "turn.closed")]
    assert "process limit 100 reached; run ended" in closed["error"]
    assert served.say(f"/stop {begun.task}").status == 0
    hog = f"/run on=evo-x2 agent=plain do\nshell {HOG}\nshell echo GOOD after all > work.txt"
    answer = served.say(hog, wait=True)
    assert answer.status == 0, "the agent outlives the process that it started"
    (body,) = [item.event.body() for item in served.of(answer.task, "pipe.ended")]
    assert body["reached"] == "memory limit 200 MB reached; process python3 ended"
    assert body["reached"] in " ".join(answer.shown.replace("│", "").split())


@pytest.mark.timeout(300)  # its files are removed, from a disk that others use
def test_a_session_that_fills_the_disk_ends_and_its_task_asks_a_person(served: House) -> None:
    answer = served.say(f"/run on=evo-x2 agent=plain do\nshell {FILL}", wait=True)
    assert answer.status == 4, answer.shown
    (closed,) = [item.event.body() for item in served.of(answer.task, "turn.closed")]
    assert "disk limit 100 MB reached; run ended" in closed["error"]
    assert served.say(f"/stop {answer.task}").status == 0
