"""Two tasks and one file: what the second one changed does not land, whether it asked before or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.controllers import airboss
from tests.scenarios.house import House, house

HELD = '/run write GOOD first\nshell echo "print(1)" >> check.py'


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    with house() as made:
        made.start()
        yield made


def test_what_a_shell_changed_under_another_task_is_told_and_never_lands(served: House) -> None:
    before = served.commits()[0]
    first = served.say(HELD, wait=True)
    assert first.status == 4, first.shown
    second = served.say("/run write GOOD second", wait=True)
    assert second.status == 2, second.shown
    assert f"work.txt is locked by {first.task}" in served.why(second.task)
    causes = [recorded.event.body()["cause"] for recorded in served.of(second.task, "turn.started")]
    assert causes == ["request", "rework", "rework"], "it was told twice, and changed it again"
    assert not served.of(second.task, "gate.opened"), "nothing of it was judged"
    shown = served.say("/locks").shown
    assert "work.txt" in shown and first.task in shown
    assert served.say(f"/deny {first.task} not now").status == 0
    assert served.wait(first.task).status == 2
    assert served.commits()[0] == before
    third = served.say("/run write GOOD third", wait=True)
    assert third.status == 0, third.shown


def test_a_declared_lock_is_waited_for_and_freed_with_a_reason(served: House) -> None:
    first = served.say(HELD, wait=True)
    second = served.say("/run --lock 'work.*' write GOOD queued")
    served.until(
        lambda: "waiting for a lock" in served.say(f"/session {second.task}").shown, "the second task waits"
    )
    assert f"{second.task} waits for work.*" in served.say("/locks").shown
    assert served.say(f"/unlock {first.task} its owner is away").status == 0
    landed = served.wait(second.task)
    assert landed.status == 0, landed.shown
    assert served.main() == "GOOD queued"
    broken = [recorded.event.body() for recorded in served.of(first.task, "locks.released")]
    assert [(body["end"], body["reason"]) for body in broken] == [("broken", "its owner is away")]
    served.say(f"/stop {first.task}")


def test_a_lock_taken_by_hand_keeps_tasks_off_and_survives_a_restart(served: House) -> None:
    words = ("path:shop:work.txt", "--holder", "anna", "--ttl", "600")
    airboss("lock", "acquire", *words, home=served.home).check_returncode()
    waiting = served.say("/run --lock work.txt write GOOD after anna")
    served.until(lambda: "locked by anna" in served.say(f"/session {waiting.task}").shown, "it waits for anna")
    served.kill()
    served.start()
    served.until(lambda: f"{waiting.task} waits" in served.say("/locks").shown, "it waits again")
    airboss("lock", "release", *words[:3], home=served.home).check_returncode()
    landed = served.wait(waiting.task)
    assert landed.status == 0, landed.shown
    assert served.main() == "GOOD after anna"
