"""The envelope's bytes are fixed for good: what was hashed and signed yesterday must hash the same tomorrow."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleet.events import Refs, Source, TaskMoved, UnknownEvent, encode, leaf_hash, parse

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | SAFE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def test_the_bytes_of_a_known_event_never_change() -> None:
    made = encode(
        seq=7,
        id_="00ff",
        time_us=1_795_360_447_868_000,
        actor="console:höst:ada",
        refs=Refs("t1", "t1.1", "t1.1.1", "t1.1.1-tests", "evo"),
        source=Source.CONTROLLER,
        event=TaskMoved("queued", "preparing", 'a "quote"\n\x1b€'),
    )
    assert (
        made
        == (
            '{"actor":"console:höst:ada","body":{"new":"preparing","old":"queued",'
            '"why":"a \\"quote\\"\\n\\u001b€"},"gate_run":"t1.1.1-tests","id":"00ff",'
            '"kind":"task.moved","machine":"evo",'
            '"seq":7,"session":"t1.1","source":"controller","task":"t1",'
            '"time_us":1795360447868000,"turn":"t1.1.1","v":1}'
        ).encode()
    )
    assert leaf_hash(made) == sha256(b"\x00" + made).digest()


@given(body=st.dictionaries(TEXT, JSON, max_size=4), actor=TEXT, task=TEXT, seq=st.integers(1, 2**53 - 1))
def test_every_body_comes_back_and_has_one_form(body: dict[str, Any], actor: str, task: str, seq: int) -> None:
    event, refs = UnknownEvent("some.kind", 9, body), Refs(task=task)

    def bytes_of(one: UnknownEvent) -> bytes:
        return encode(seq=seq, id_="i", time_us=1, actor=actor, refs=refs, source=Source.AGENT, event=one)

    made = bytes_of(event)
    envelope = json.loads(made)
    assert parse(envelope) == (refs, Source.AGENT, event)
    assert (envelope["seq"], envelope["actor"]) == (seq, actor)
    assert bytes_of(UnknownEvent("some.kind", 9, dict(reversed(body.items())))) == made
