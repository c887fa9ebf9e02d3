"""The checker of lock histories finds the bugs that it is there for, and accepts what is right."""

from __future__ import annotations

import pytest

from tests.lock_history import Answer, Kind, Operation, linearizable

LEASE = 1.0


def op(kind: str, hold: str, answer: str, called: float, returned: float, token: int = 0, **how: bool) -> Operation:
    return Operation(Kind(kind), hold, Answer(answer), called, returned, token, **how)


RIGHT = {
    "in turn": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("acquire", "b", "no", 0.2, 0.3),
        op("release", "a", "yes", 0.4, 0.5),
        op("acquire", "b", "yes", 0.6, 0.7, 2),
    ],
    "at once, in the other order": [
        op("acquire", "a", "no", 0, 0.5),
        op("acquire", "b", "yes", 0.1, 0.4, 1),
    ],
    "after expiry": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("acquire", "b", "yes", 1.2, 1.3, 2),
        op("renew", "a", "no", 1.4, 1.5),
    ],
    "renewed in time": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("renew", "a", "yes", 0.8, 0.9),
        op("acquire", "b", "no", 1.5, 1.6),
    ],
    "an answer that was lost happened": [
        op("acquire", "a", "lost", 0, -1),
        op("acquire", "b", "no", 0.3, 0.4),
        op("acquire", "c", "yes", 1.6, 1.7, 2),
    ],
    "an answer that was lost did not happen": [
        op("acquire", "a", "lost", 0, -1),
        op("acquire", "b", "yes", 0.3, 0.4, 1),
    ],
}
RIGHT["refused behind one who waited"] = [
    op("acquire", "a", "yes", 0, 0.1, 1),
    op("acquire", "b", "no", 0.9, 1.3, waits=True),
    op("acquire", "c", "no", 1.2, 1.25, behind=True),
]
WRONG = {
    "a lost answer that would have happened too late": [
        op("acquire", "a", "lost", 0, 0.1),
        op("acquire", "b", "yes", 0.2, 0.3, 1),
        op("release", "b", "yes", 0.4, 0.5),
        op("acquire", "c", "yes", 0.6, 0.7, 3),
    ],
    "refused behind nobody": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("acquire", "b", "no", 1.2, 1.25, behind=True),
    ],
    "fencing removed: a stale effect is accepted": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("acquire", "b", "yes", 1.2, 1.3, 2),
        op("effect", "a", "yes", 1.4, 1.5),
    ],
    "an effect refused although nobody took over": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("effect", "a", "no", 0.2, 0.3),
    ],
    "two holders at once": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("acquire", "b", "yes", 0.3, 0.4, 2),
    ],
    "fencing removed: a renewal after another's grant": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("acquire", "b", "yes", 1.2, 1.3, 2),
        op("renew", "a", "yes", 1.4, 1.5),
    ],
    "a token twice": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("release", "a", "yes", 0.2, 0.3),
        op("acquire", "b", "yes", 0.4, 0.5, 1),
    ],
    "a token lost by a release": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("release", "a", "yes", 0.2, 0.3),
        op("acquire", "b", "yes", 0.4, 0.5, 3),
    ],
    "refused although free": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("release", "a", "yes", 0.2, 0.3),
        op("acquire", "b", "no", 0.4, 0.5),
    ],
    "held for ever": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("acquire", "b", "no", 1.3, 1.4),
    ],
    "released by a stranger": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("release", "b", "yes", 0.2, 0.3),
    ],
    "a renewal refused in time": [
        op("acquire", "a", "yes", 0, 0.1, 1),
        op("renew", "a", "no", 0.3, 0.4),
    ],
}


@pytest.mark.parametrize("history", RIGHT.values(), ids=list(RIGHT))
def test_what_a_lock_may_do_is_accepted(history: list[Operation]) -> None:
    assert linearizable(history, LEASE)


@pytest.mark.parametrize("history", WRONG.values(), ids=list(WRONG))
def test_what_no_lock_may_do_is_found(history: list[Operation]) -> None:
    assert not linearizable(history, LEASE)
