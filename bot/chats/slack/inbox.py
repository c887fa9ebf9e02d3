"""Reads what Slack delivers: events, slash commands and pressed buttons become messages. Pure, and never raises.

What is clearly not for us is dropped: other people's chatter in a channel is neither kept nor answered.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from bot.message import Attachment, Message, Speech
from bot.parse import FLEET, unformatted
from fleet.model import ChatRef, PersonId
from fleet.untrusted import clean

NAME: Final = "slack"

_REFERENCE = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")
_TO_OTHERS = re.compile(r"[\s*_~]*<[@!](?!date\^)")
_SUBTYPES = ("", "file_share", "thread_broadcast")
_TEXT_LIMIT = 100_000
_FILES = 10
_CLIPS: Final = {"slack_audio": "a voice message", "slack_video": "a video message"}
_EDITED: Final = "message_changed"
_NAME_LIMIT: Final = 100
_LINK_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class AppUser:
    """Our app in Slack: its workspace and its own user."""

    team: str
    user: str


def read(body: Mapping[str, Any], me: AppUser, verbs: Collection[str]) -> Message | None:
    """The message in a delivered body; ``None`` when there is none for us. ``verbs``: what the registry knows."""
    match _string(body, "type"):
        case "event_callback":
            event = body.get("event")
            return _event(body, event, me, verbs) if isinstance(event, dict) else None
        case "block_actions":
            return _press(body)
        case "" if _string(body, "command"):
            return _command(body, verbs)
        case _:
            return None


def _event(
    body: Mapping[str, Any], event: Mapping[str, Any], me: AppUser, verbs: Collection[str]
) -> Message | None:
    """A message. Slack reports a mention twice, as a message and as ``app_mention``: the key is channel and
    time."""
    user, channel, ts = _string(event, "user"), _string(event, "channel"), _string(event, "ts")
    if _string(event, "subtype") == _EDITED:
        return _edit(body, event, me, verbs)
    if _string(event, "type") not in ("message", "app_mention") or not (user and channel and ts):
        return None
    if _string(event, "subtype") not in _SUBTYPES or _string(event, "bot_id") or user == me.user:
        return None
    shared = _shared(event)
    raw, files = _string(event, "text")[:_TEXT_LIMIT], _files(event, *shared)
    spoken = (*_speech(event), *(speech for message in shared for speech in _speech(message, _author(message))))
    mentioned = f"<@{me.user}>" in raw or f"<@{me.user}|" in raw
    private = _string(event, "channel_type") == "im" or _private(channel)
    direct = mentioned or private
    text, thread = words(raw, me), _string(event, "thread_ts")
    if mentioned and not (text or files or shared):
        text = "/help"  # who only says our name wants something of us
    if not direct and not _meant(text, raw, bool(thread), verbs):
        return None
    return Message(
        adapter=NAME,
        update_id=f"m:{channel}:{ts}"[:200],
        sender=PersonId(NAME, _team(body, event), user),
        chat=ChatRef(NAME, channel, thread),
        text=text,
        files=files,
        direct=direct,
        private=private,
        beside="\n\n".join(filter(None, (_spoken(message, me) for message in shared))),
        own=ts,
        spoken=spoken,
        unreadable=direct and len(spoken) == len(files) > 0 and not text,
    )


def _edit(body: Mapping[str, Any], event: Mapping[str, Any], me: AppUser, verbs: Collection[str]) -> Message | None:
    """A message as a person changed it. Slack also reports previews of links and new replies as changes."""
    now, before = _dict(event, "message"), _dict(event, "previous_message")
    when = _string(_dict(now, "edited"), "ts")
    if not when or _string(now, "text") == _string(before, "text") or _string(now, "subtype") == _EDITED:
        return None
    inside = {**now, "type": "message", "channel": event.get("channel"), "channel_type": event.get("channel_type")}
    found = _event(body, inside, me, verbs)
    if found is None:
        return None
    return replace(found, update_id=f"e:{found.chat.chat}:{found.own}:{when}"[:200], files=(), edited=True)


def _shared(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages that came with this one, as attachments: forwarded or shared. Previews of links are none."""
    return [message for message in _dicts(event, "attachments")[:_FILES] if _is_message(message)]


def _is_message(attachment: Mapping[str, Any]) -> bool:
    if attachment.get("is_share") is True or attachment.get("is_msg_unfurl") is True:
        return True
    return not (_string(attachment, "original_url") or _string(attachment, "service_name"))


def _spoken(shared: Mapping[str, Any], me: AppUser) -> str:
    """A shared message: who wrote it, what it says, where it is. Empty without words, such as a file alone."""
    parts = [_string(shared, name)[:_TEXT_LIMIT] for name in ("pretext", "title", "text")]
    for field in _dicts(shared, "fields")[:_FILES]:
        parts.append(f"{_string(field, 'title')}: {_string(field, 'value')}"[:_TEXT_LIMIT])
    text = "\n".join(words(part, me) for part in parts if part.strip())
    text = text or words(_string(shared, "fallback")[:_TEXT_LIMIT], me)
    if not text:
        return ""
    where = _string(shared, "from_url")[:_LINK_LIMIT]
    return f"{_author(shared)}{f' ({where})' if where else ''}:\n{text}"


def _author(shared: Mapping[str, Any]) -> str:
    name = " ".join((_string(shared, "author_name") or _string(shared, "author_subname")).split())[:_NAME_LIMIT]
    return f"Forwarded from {name or 'somebody'}"


def _speech(source: Mapping[str, Any], heading: str = "") -> tuple[Speech, ...]:
    """The clips among a message's files, recorded in Slack. They are files as well, for a chat where nothing
    transcribes."""
    found = []
    for raw in _dicts(source, "files")[:_FILES]:
        kind = _CLIPS.get(_string(raw, "subtype"))
        if kind is not None and (files := _files({"files": [raw]})):
            found.append(Speech(files[0], _number(raw, "duration_ms") // 1_000, kind, heading))
    return tuple(found)


def _private(channel: str) -> bool:
    return channel.startswith("D")


def _meant(text: str, raw: str, threaded: bool, verbs: Collection[str]) -> bool:
    """Whether words in a channel may be for us: in a thread all but what mentions somebody else, else commands."""
    if threaded:
        return not _TO_OTHERS.match(raw)
    found = re.match(r"[!/]\s?([A-Za-z_-]+)", unformatted(text))
    return found is not None and found.group(1).lower().replace("_", "-") in verbs


def _command(body: Mapping[str, Any], verbs: Collection[str]) -> Message | None:
    user, channel = _string(body, "user_id"), _string(body, "channel_id")
    if not (user and channel):
        return None
    return Message(
        adapter=NAME,
        update_id=f"c:{_trigger(body)}",
        sender=PersonId(NAME, _string(body, "team_id"), user),
        chat=ChatRef(NAME, channel, _string(body, "thread_ts")),
        text=typed(_string(body, "command"), _string(body, "text")[:_TEXT_LIMIT], verbs),
        private=_private(channel),
    )


def typed(command: str, text: str, verbs: Collection[str]) -> str:
    """What a slash command means: ``/fleet retry t1`` and ``/retry t1`` are the same, with any prefix."""
    name, text = command.lstrip("/").lower(), html.unescape(text).strip()
    parts = name.split("-")
    for start in range(len(parts)):
        rest = "-".join(parts[start:])
        if rest == FLEET:
            return f"/{unformatted(text).lstrip('/!')}" if text else "/status"
        if rest in verbs:
            return f"/{rest} {text}".rstrip()
    return f"/{name} {text}".rstrip()


def _press(body: Mapping[str, Any]) -> Message | None:
    action = next(iter(_dicts(body, "actions")), {})
    message, container = _dict(body, "message"), _dict(body, "container")
    user, channel = _string(_dict(body, "user"), "id"), _string(_dict(body, "channel"), "id")
    token = _string(action, "value")
    if not (user and channel and token):
        return None
    team = _string(_dict(body, "user"), "team_id") or _string(_dict(body, "team"), "id")
    thread = _string(container, "thread_ts") or _string(message, "thread_ts")
    ts = _string(container, "message_ts") or _string(message, "ts")
    return Message(
        adapter=NAME,
        update_id=f"p:{_trigger(body)}",
        sender=PersonId(NAME, team, user),
        chat=ChatRef(NAME, channel, "" if thread == ts else thread),
        pressed=token[:200],
        reply_to=ts,
        private=_private(channel),
    )


def words(raw: str, me: AppUser) -> str:
    """A message as it was typed: references spelled out, entities decoded, our own name removed at both ends."""

    def spelled(found: re.Match[str]) -> str:
        kind, target, label = found.group(1), found.group(2), found.group(3) or ""
        if kind == "@" and target == me.user:
            return "\0"
        if target.startswith("date^"):
            return label or target
        if kind:
            return ("#" if kind == "#" else "@") + (label.lstrip("@#") or target)
        if not label or target.removeprefix("mailto:").removeprefix("tel:").endswith(label):
            return label or target
        return f"{label} ({target})"

    text = html.unescape(_REFERENCE.sub(spelled, raw.replace("\0", ""))).strip()
    text = re.sub(r"^(?:\0[:,]?\s*)+", "", text)
    text = text.rstrip("\0 \t\r\n")  # no regex: one that starts with white space takes seconds on a page of it
    return text.replace("\0", "@airboss").strip()


def _files(*sources: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """The files of a message and of those that it shares."""
    return tuple(
        Attachment(
            name=" ".join(clean(_string(file, "name") or _string(file, "title"), 200).split()) or "file",
            path="",
            media_type=_string(file, "mimetype")[:100],
            size=_number(file, "size"),
            source=_string(file, "id")[:100],
        )
        for file in [file for source in sources for file in _dicts(source, "files")][:_FILES]
        if _string(file, "id")
    )


def _team(body: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """The sender's own workspace. In a channel shared with another workspace, a missing one means a stranger."""
    said = _string(event, "user_team") or _string(event, "source_team") or _string(event, "team")
    return said or ("" if body.get("is_ext_shared_channel") is True else _string(body, "team_id"))


def _trigger(body: Mapping[str, Any]) -> str:
    """A key that is the same when Slack delivers again, and different when a person does it again."""
    trigger = _string(body, "trigger_id")
    return trigger[:200] or sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()


def _string(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _dict(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = mapping.get(key)
    return value if isinstance(value, dict) else {}


def _dicts(mapping: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = mapping.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _number(mapping: Mapping[str, Any], key: str) -> int:
    value = mapping.get(key)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0
