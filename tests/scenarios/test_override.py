"""A person lets a change land although its gate failed: named, with a reason, for this tree only."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.scenarios.house import House, house
from tests.schema import load, problems


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    with house() as made:
        made.start()
        yield made


def test_an_overridden_change_lands_and_says_so_for_ever(served: House) -> None:
    answer = served.say("/run on=macbook write BAD work\nexit 0", wait=True)  # no progress in its second turn
    task = answer.task
    assert answer.status == 4, answer.shown
    early = served.say(f"/override {task} check because")
    assert early.status == 2 and f"/stop {task}" in early.shown, "its agent may still go on"
    assert served.say(f"/stop {task}").status == 0
    served.until(lambda: served.of(task, "session.ended"), "its session is closed")

    unnamed = served.say(f"/override {task}")
    assert unnamed.status == 2 and "check" in unnamed.shown
    asked = served.say(f"/override {task} check")
    assert "Why override gate check" in asked.shown and "Or write /override" in asked.shown
    assert not served.of(task, "gate.overridden"), "a question decides nothing"

    said = served.say(f"/override {task} check 2h known to be wrong on Sundays")
    assert said.status == 0 and "self-approved" in said.shown and "It stays failed" in said.shown
    assert served.wait(task).status == 0
    assert served.main() == "BAD work"

    (given,) = served.of(task, "gate.overridden")
    word = given.event.body()
    judged = served.of(task, "verdict.given")[-1]
    assert (word["gate"], word["outcome"], word["reason"]) == ("check", "failed", "known to be wrong on Sundays")
    assert word["tree"] == judged.event.body()["tree"] and judged.event.body()["outcome"] == "overridden"
    assert given.seq < judged.seq < served.of(task, "landing.intended")[0].seq, "recorded before it acts"
    outcomes = [each.event.body()["outcome"] for each in served.of(task, "gate.closed")]
    assert set(outcomes) == {"failed"}, "the gate itself never passed"

    receipt = json.loads((served.home / "receipts" / f"{task}.json").read_text())
    assert problems(receipt, load("receipt.json")) == []
    (gate,) = receipt["predicate"]["gates"]
    assert gate["outcome"] == "failed" and gate["overridden"]["self_approved"] is True
    digest = " ".join(served.say("/digest more").shown.replace("│", " ").split())
    assert "1 overridden, 1 self-approved" in digest
    again = served.say(f"/override {task} check because")
    assert again.status == 2, again.shown
