"""One update of a chat, without anything that is specific to its platform."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

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
class Message:
    """One update from a chat.

    ``update_id`` is the platform's own id, unique per adapter: the key that makes redelivery harmless.
    ``pressed`` is the token of the button that was pressed (``text`` is then empty). ``reply_to`` is the
    platform's id of the message this one replies to, or whose button was pressed; ``direct``: it is addressed to us
    (a direct message or a mention), so the slash is optional; ``private``: nobody else is in the chat, so every
    plain message there is for us. ``album`` is the platform's id of several files that were sent together, where
    each arrives as its own message. ``unreadable``: it contains something that we cannot use, such as a voice
    message or a video; its text alone is not what the sender meant.
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

    def __post_init__(self) -> None:
        for name in ("text", "pressed", "reply_to", "album"):
            object.__setattr__(self, name, storable(getattr(self, name)))

    def to_bytes(self) -> bytes:
        """The form the inbox keeps."""
        shallow = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(shallow, default=asdict, ensure_ascii=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Message:
        """The inverse of :meth:`to_bytes`. Raises ``Malformed`` for anything else."""
        try:
            raw = json.loads(data)
            return cls(
                adapter=raw["adapter"],
                update_id=raw["update_id"],
                sender=PersonId(**raw["sender"]),
                chat=ChatRef(**raw["chat"]),
                text=raw["text"],
                pressed=raw["pressed"],
                reply_to=raw["reply_to"],
                files=tuple(Attachment(**file) for file in raw["files"]),
                direct=raw["direct"],
                album=raw.get("album", ""),
                private=raw.get("private", True),
                unreadable=raw.get("unreadable", False),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Malformed(attempted="read a chat message from the inbox", cause=repr(error)[:200]) from error


def as_one(album: Sequence[Message]) -> Message:
    """The messages of an album as the one message that its sender wrote: the text of any of them, all files."""
    with_text = next((message for message in album if message.text), album[0])
    return replace(with_text, files=tuple(file for message in album for file in message.files))


def storable(text: str) -> str:
    """The text without what databases and chats refuse: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
