"""Whatever a machine answers, its caller meets an error of ours that names the machine, and no other."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import AirbossError, MachineFaulty, Malformed
from fleet.machines import answers
from fleet.machines.channel import Frame, Framer
from fleet.ports import LoginFacts, LoginOffers
from tests.far_end.bad_runner import BAD_FACTS, FACTS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
KINDS = [
    answers.Head,
    answers.Greeting,
    answers.Credit,
    LoginFacts,
    LoginOffers,
    answers.RunEnded,
    answers.Done,
    answers.Forgotten,
    answers.Data,
    answers.Following,
    answers.Running,
]
#: The names and kinds that a machine's answers know, so that some of it is nearly right.
NAMES = st.sampled_from(
    ["id", "ev", "done", "error", "cause", "n", "root", "offset", "position", "why", "programs", "xcode", *FACTS]
)
EVENTS = st.sampled_from(["out", "err", "data", "accepted", "stalled", "pulse", "end", "credit", "ready"])
NEARLY = st.dictionaries(NAMES, JSON | EVENTS, max_size=8)


@given(st.sampled_from(KINDS), NEARLY | st.dictionaries(st.text(max_size=9), JSON, max_size=4))
def test_any_object_is_a_record_or_a_faulty_machine(kind: Any, fields: dict[str, Any]) -> None:
    try:
        answers.decoded(kind, fields, "box", "try")
    except MachineFaulty as error:
        assert error.on == "box" and len(error.cause) <= answers.REASON_LIMIT + 20
        assert error.cause.isprintable()


@given(st.binary(max_size=300) | st.builds(lambda value: json.dumps(value).encode(), JSON))
def test_any_bytes_are_a_header_or_malformed(text: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert isinstance(answers.header(text), dict)


@given(st.lists(st.binary(max_size=60), max_size=5), NEARLY)
def test_any_bytes_on_the_link_are_frames_or_malformed(noise: list[bytes], header: dict[str, Any]) -> None:
    framer = Framer()
    try:
        for piece in (*noise, Frame(header).encode()):
            framer.feed(piece)
    except AirbossError:
        pass


RECORD = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("pipe", "how", "status", "started_us", "ended_us", "gone", "tree"), JSON),
)


@given(RECORD)
def test_a_signed_record_of_any_shape_ends_the_pipe(fields: dict[str, Any]) -> None:
    import hashlib
    import hmac

    line = json.dumps(fields).encode()
    signed = line + b"\n" + hmac.new(b"n", line, hashlib.sha256).hexdigest().encode() + b"\n"
    ended = answers.judge("p", "n", answers.End(missing="", recorded=True, doubled=False), signed)
    assert ended.raw_wait_status is None


@pytest.mark.parametrize("changes", BAD_FACTS.values(), ids=BAD_FACTS)
def test_facts_that_are_not_what_they_must_be(changes: dict[str, Any]) -> None:
    answers.record(LoginFacts, FACTS, "box", "look")
    bad = {name: value for name, value in {**FACTS, **changes}.items() if value is not None}
    with pytest.raises(MachineFaulty):
        answers.record(LoginFacts, bad, "box", "look")


def test_a_reason_cannot_move_the_cursor_of_whoever_reads_it() -> None:
    error = answers.faulty("box", "look", "\x1b[2J\u202eevil\nline" + "x" * 1000)
    assert error.cause.startswith("malformed answer: evil line") and len(error.cause) < 230
