"""A message is what every store and chat can take, whichever chat it came from."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.message import Attachment, Message
from fleet.errors import Malformed
from fleet.model import ChatRef, PersonId

ANY = st.text(st.characters(exclude_categories=()))


def sound(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


@given(ANY, ANY, ANY)
def test_half_letters_and_nul_do_not_get_in_and_all_else_does(text: str, pressed: str, name: str) -> None:
    who, where = PersonId("slack", "T1", "U1"), ChatRef("slack", "C1")
    message = Message("slack", "1", who, where, text, pressed, files=(Attachment(name, "", "image/jpeg", 1),))
    for kept, said in ((message.text, text), (message.pressed, pressed), (message.files[0].name, name)):
        assert sound(kept)
        assert kept == said or not sound(said)
    assert Message.from_bytes(message.to_bytes()) == message


@pytest.mark.parametrize("field", ["text", "pressed", "files", "sender"])
def test_what_is_no_message_is_malformed(field: str) -> None:
    whole = Message("slack", "1", PersonId("slack", "T1", "U1"), ChatRef("slack", "C1")).to_bytes()
    with pytest.raises(Malformed):
        Message.from_bytes(json.dumps({**json.loads(whole), field: 7}).encode())
