"""One update of a chat, without anything that is specific to its platform."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

import msgspec

from fleet.errors import Malformed
from fleet.model import ChatRef, PersonId


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a message. The name is untrusted.

    ``path`` is where it is on the controller's disk, once the platform's handle ``source`` is empty: a message is
    committed and acknowledged before its files are fetched.
    """

    name: str
    path: str
    media_type: str
    size: int
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "media_type"):
            object.__setattr__(self, name, storable(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class Speech:
    """Something spoken that came with a message. ``kind`` says what it is ("a voice message"); ``heading`` whose
    words they are, empty for the sender's own."""

    file: Attachment
    seconds: int
    kind: str
    heading: str = ""


class Cut(StrEnum):
    """Where a client may have split a text that was too long for one message: nowhere, where white space was (which
    it removed), or inside a word."""

    NOT = ""
    AT_SPACE = "space"
    IN_WORD = "word"


@dataclass(frozen=True, slots=True)
class Message:
    """One update from a chat.

    ``update_id`` is the platform's own id, unique per adapter: the key that makes redelivery harmless.
    ``pressed`` is the token of the button that was pressed (``text`` is then empty). ``reply_to`` is the
    platform's id of the message this one replies to, or whose button was pressed; ``direct``: it is addressed to us
    (a direct message or a mention), so the slash is optional; ``private``: nobody else is in the chat, so every
    plain message there is for us. ``album`` is the platform's id of several files that were sent together, where
    each arrives as its own message. ``unreadable``: it contains something that we cannot use, such as a voice
    message or a video; its text alone is not what the sender meant. ``ignored`` names what that is.

    ``beside`` is what stands beside the typed text and is never a command, such as a quote or a forwarded text.
    ``own`` is the platform's id of this message; ``edited``: it replaces that earlier message. The next three are
    set by platforms that send one act as several messages (``bot/hearing/acts.py``): when it was sent, where the
    client may have split its text, whether it is a forward. ``spoken``: what can be transcribed, if that is set up
    here. It is named in ``ignored`` too, unless it is one of ``files`` as well.

    ``nameless``: the platform hides which person wrote it. ``moved_to``: no person's words, but the platform's: the
    chat has this id from now on.
    """

    adapter: str
    update_id: str
    sender: PersonId
    chat: ChatRef
    text: str = ""
    pressed: str = ""
    reply_to: str = ""
    files: tuple[Attachment, ...] = ()
    direct: bool = True
    album: str = ""
    private: bool = True
    unreadable: bool = False
    ignored: tuple[str, ...] = ()
    beside: str = ""
    own: str = ""
    edited: bool = False
    sent_s: int = 0
    cut: Cut = Cut.NOT
    forwarded: bool = False
    spoken: tuple[Speech, ...] = ()
    nameless: bool = False
    moved_to: str = ""

    def __post_init__(self) -> None:
        for name in ("text", "pressed", "reply_to", "album", "beside"):
            object.__setattr__(self, name, storable(getattr(self, name)))

    def to_bytes(self) -> bytes:
        """The form the inbox keeps."""
        shallow = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(shallow, default=asdict, ensure_ascii=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Message:
        """The inverse of :meth:`to_bytes`. Raises ``Malformed`` for anything else."""
        try:
            return msgspec.convert(json.loads(data), cls)
        except (ValueError, msgspec.MsgspecError) as error:
            raise Malformed(attempted="read a chat message from the inbox", cause=repr(error)[:200]) from error


def storable(text: str) -> str:
    """The text without what databases and chats refuse: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
