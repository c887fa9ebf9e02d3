"""What is spoken in a message, on each platform, and where its words go."""

from __future__ import annotations

from typing import Any

import pytest

from bot.chats.slack.inbox import AppUser, read
from bot.commands import every_command
from bot.hearing.acts import as_one
from bot.hearing.voice import VERB, as_typed
from bot.message import Attachment, Message, Speech
from bot.registry import Registry
from fleet.model import ChatRef, PersonId

ME = AppUser("T1", "UBOT")
CLIP = {"id": "F1", "name": "clip.m4a", "mimetype": "audio/mp4", "subtype": "slack_audio", "duration_ms": 4_200}
SHARED = {"is_share": True, "author_name": "Bob", "files": [{**CLIP, "id": "F2"}]}


def slack(**event: Any) -> Message:
    body = {"type": "message", "user": "U1", "channel": "D1", "channel_type": "im", "ts": "1.1", **event}
    found = read({"type": "event_callback", "team_id": "T1", "event": body}, ME, ["run"])
    assert found is not None
    return found


def test_a_clip_in_slack_is_spoken_and_also_a_file() -> None:
    alone = slack(subtype="file_share", files=[CLIP])
    assert alone.unreadable and alone.spoken == (Speech(alone.files[0], 4, "a voice message"),)
    with_words = slack(text="run it", files=[CLIP, {"id": "F3", "name": "a.png", "mimetype": "image/png"}])
    assert not with_words.unreadable, "where nothing transcribes, its agent gets the file"
    assert [file.source for file in as_typed(with_words, ["faster"]).files] == ["F3"]
    shared = slack(text="run it", attachments=[SHARED])
    assert [(speech.file.source, speech.heading) for speech in shared.spoken] == [("F2", "Forwarded from Bob")]
    assert slack(text="run it", files=[{**CLIP, "subtype": "", "duration_ms": None}]).spoken == ()


@pytest.mark.parametrize("length", [None, "9", True, -5, 1 << 70, 2.5])
def test_a_length_that_makes_no_sense_is_read(length: object) -> None:
    (speech,) = slack(files=[{**CLIP, "duration_ms": length}]).spoken
    assert speech.seconds >= 0


def spoken(heading: str = "", **more: Any) -> Message:
    speech = Speech(Attachment("v.ogg", "", "audio/ogg", 4, "v1"), 3, "a voice message", heading)
    person, chat = PersonId("telegram", "", "1"), ChatRef("telegram", "1")
    return Message(
        "telegram", "1", person, chat, spoken=(speech,), ignored=("a voice message",), unreadable=True, **more
    )


def test_the_senders_own_words_are_the_text_and_those_of_others_stand_beside_it() -> None:
    own = as_typed(spoken(), ["/stop t1"])
    assert (own.text, own.beside, own.unreadable, own.ignored) == ("/stop t1", "", False, ())
    theirs = as_typed(spoken("Forwarded from Bob", forwarded=True), ["/stop t1"])
    assert (theirs.text, theirs.beside, theirs.forwarded) == ("", "Forwarded from Bob:\n/stop t1", True)
    captioned = as_typed(spoken(text="/run do it"), ["/stop t1"])
    assert (captioned.text, captioned.beside) == ("/run do it", "Said in a voice message:\n/stop t1")


def test_speech_survives_the_inbox_and_is_joined_with_its_act() -> None:
    message = spoken("Forwarded from Bob", forwarded=True)
    assert Message.from_bytes(message.to_bytes()) == message
    assert len(as_one([spoken(), message]).spoken) == 2


def test_nobody_can_type_what_its_buttons_do() -> None:
    assert VERB not in Registry(every_command()).names
