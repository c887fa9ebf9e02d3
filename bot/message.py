"""What a chat hands over: one update, already freed of everything that only its platform knows."""

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
    platform's id of the message this one answers, or whose button was pressed; ``direct`` says that it was meant
    for us alone (a direct message or a mention), so that a missing slash is forgiven; ``private`` that nobody else
    is in the chat, so that every plain word there is ours. ``album`` is the platform's id of several files that
    were sent as one, where each comes as a message of its own. ``unreadable``: it brings what we can make
    no use of, such as a voice or a film; its words alone would not be what was meant.
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
                files=tuple(Attachment(**one) for one in raw["files"]),
                direct=raw["direct"],
                album=raw.get("album", ""),
                private=raw.get("private", True),
                unreadable=raw.get("unreadable", False),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Malformed(attempted="read a chat message from the inbox", cause=repr(error)[:200]) from error


def as_one(album: Sequence[Message]) -> Message:
    """The messages of an album as the one that its sender made: the words of the one that has any, all files."""
    spoken = next((one for one in album if one.text), album[0])
    return replace(spoken, files=tuple(file for one in album for file in one.files))


def storable(text: str) -> str:
    """Without what no database and no chat takes: halves of letters, and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
