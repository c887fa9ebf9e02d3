"""A whole controller whose store, machines and chat calls fail now and then: every task ends as it would anyway."""

from __future__ import annotations

import pytest

from tests.scenarios.house import House, house

_PROMPT = "write bad\nthen-write GOOD at last"


def _told(built: House) -> tuple[list[str], str]:
    """What the ledger says of the task: red, sent back, green, landed, receipt; and the agent's words.

    Where its words are parted depends on when they come, and links may break.
    """
    built.until(lambda: built.of("t1", "session.ended"), "the session is closed")
    kinds = [recorded.event.KIND for recorded in built.of("t1")]
    words = [recorded.event.body()["text"] for recorded in built.of("t1", "agent.said")]
    return [kind for kind in kinds if kind not in ("agent.said", "link.changed")], "\n".join(words)


@pytest.mark.parametrize(
    "faults",
    [
        "store.commit@45:2s",
        "store.read@60:3",
        "machine.call@6:3 store.commit@33",
        "machine.call@14:3",
        "chat.call@2:3 store.read@90",
    ],
)
def test_a_flight_through_faults_ends_as_it_would_without(faults: str, undisturbed: tuple[list[str], str]) -> None:
    with house() as built:
        built.start(AIRBOSS_FAULT=faults)
        begun = built.say(f"/run {_PROMPT}")
        ended = built.wait(begun.task)
        assert ended.status == 0, ended.shown
        assert built.main() == "GOOD at last"
        assert _told(built) == undisturbed
        assert built.say("/status").status == 0, "every part still answers"


@pytest.fixture(scope="module")
def undisturbed() -> tuple[list[str], str]:
    with house() as built:
        built.start()
        begun = built.say(f"/run {_PROMPT}")
        assert built.wait(begun.task).status == 0
        return _told(built)
