"""What is read of Telegram's answers: only the fields that are used, so no other field can make an answer fail.

The library parses an answer as a whole. A message that was accepted, with an answer that the library cannot parse,
would count as failed and be sent again. A method that a server does not know is a 404, which the library calls an
invalid token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from telegram.error import BadRequest

_ID = re.compile(rb'"message_id"\s*:\s*(\d{1,18})')
_OK = re.compile(rb'^\s*\{\s*"ok"\s*:\s*true')
_REFUSED = re.compile(rb'^\s*\{\s*"ok"\s*:\s*false')
_PATIENCE: Final = 5
_LONGEST_PATIENCE: Final = 3_600
_GIFTS: Final = dict.fromkeys(
    ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"), False
)


class NoSuchMethod(BadRequest):
    """The server does not know the method. The token is not the reason: ``getMe`` was answered."""


def is_answer(status: int, payload: bytes) -> bool:
    """Whether the Bot API says it. A proxy, or the page where a network wants a login, says nothing of our token or
    of a chat. Telegram's own 413 is a page too."""
    if status in (HTTPStatus.OK, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        return True
    try:
        answer = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and "ok" in answer


def readable(url: str, status: int, payload: bytes) -> tuple[int, bytes]:
    """Status and payload in a form that the library can parse. Raises ``NoSuchMethod``."""
    if status == HTTPStatus.OK and _REFUSED.match(payload):  # the library reads the status alone
        status = _said_status(payload)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return status, _patient(payload)
    root, _, method = url.rpartition("/")
    name = method.lower()
    if status == HTTPStatus.NOT_FOUND and name == "deletewebhook":
        return HTTPStatus.OK, b'{"ok":true,"result":true}'  # where no webhook can be set, none is
    if status == HTTPStatus.NOT_FOUND and name != "getme":
        raise NoSuchMethod(f"the server does not know {method}")
    if status != HTTPStatus.OK:
        return status, payload
    needed = _NEEDED.get("send" if name.startswith(("send", "edit")) else name)
    if needed is None:
        return status, payload
    try:
        answer = json.loads(payload.decode("utf-8", "replace"))
        result = answer["result"] if answer["ok"] is True else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return status, _accepted(payload) if needed is _message else payload
    if not isinstance(result, dict):
        return status, payload
    return status, json.dumps({"ok": True, "result": needed(result, root)}).encode()


def _said_status(payload: bytes) -> int:
    """The error that an answer names which was sent as a success."""
    code = _fields(payload).get("error_code")
    known = isinstance(code, int) and HTTPStatus.BAD_REQUEST <= code < 600
    return int(code) if known and code is not None else HTTPStatus.INTERNAL_SERVER_ERROR


def _patient(payload: bytes) -> bytes:
    """A refusal that asks for a wait which the library can parse, and that ends."""
    parameters = _fields(payload).get("parameters")
    seconds = parameters.get("retry_after") if isinstance(parameters, dict) else None
    if not isinstance(seconds, int | float) or not seconds >= 0:
        seconds = _PATIENCE
    wait = max(1, int(min(seconds, _LONGEST_PATIENCE)))
    return json.dumps({"ok": False, "parameters": {"retry_after": wait}}).encode()


def _fields(payload: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(payload.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _accepted(payload: bytes) -> bytes:
    """An answer that is no JSON, but says that the message was accepted, and its id."""
    found = _ID.search(payload)
    if found is None or _OK.match(payload) is None:
        return payload
    return json.dumps({"ok": True, "result": _message({"message_id": int(found.group(1))}, "")}).encode()


def _message(result: Mapping[str, Any], _: str) -> dict[str, Any]:
    return {"message_id": result.get("message_id"), "date": 0, "chat": {"id": 0, "type": "private"}}


def _me(result: Mapping[str, Any], root: str) -> dict[str, Any]:
    own = root.rpartition("/bot")[2].partition(":")[0]  # a token starts with its bot's id
    number = result.get("id", int(own) if own.isdigit() else 0)
    name = result.get("username")
    return {
        "id": number,
        "is_bot": True,
        "first_name": str(result.get("first_name") or "bot"),
        **({"username": name} if isinstance(name, str) else {}),
    }


def _topic(result: Mapping[str, Any], _: str) -> dict[str, Any]:
    return {"message_thread_id": result.get("message_thread_id"), "name": "", "icon_color": 0}


def _chat(result: Mapping[str, Any], _: str) -> dict[str, Any]:
    return {
        "id": result.get("id", 0),
        "type": "supergroup",
        "is_forum": result.get("is_forum") is True,
        "accent_color_id": 0,
        "max_reaction_count": 0,
        "accepted_gift_types": _GIFTS,
    }


_NEEDED: Final[Mapping[str, Callable[[Mapping[str, Any], str], dict[str, Any]]]] = {
    "send": _message,
    "getme": _me,
    "createforumtopic": _topic,
    "getchat": _chat,
}
