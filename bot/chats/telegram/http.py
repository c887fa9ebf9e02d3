"""The HTTP client of python-telegram-bot, on aiohttp: a call takes a third of the default client's time.

It also distinguishes what certainly did not arrive (``NotSent``) from what may have arrived, which decides whether
a message that is sent again must be marked. None of its errors names the address, which contains the token.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from telegram.error import NetworkError, TelegramError, TimedOut
from telegram.request import BaseRequest, RequestData

from bot.chats.telegram.answers import is_answer, readable
from bot.chats.telegram.inbox import unread
from bot.outbox.contact import Contact, Way
from fleet.errors import LeadershipLost

_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 20.0
_UPLOAD_SECONDS: Final = 180.0

_UPDATES: Final = re.compile(rb'\s*\{[^\[]{0,200}"result"\s*:\s*\[')

_PAUSE_SECONDS: Final = 0.01
"""Between two polls: polling runs on the same loop as the answer that somebody waits for."""


class NotSent(NetworkError):
    """There was no connection, or it was answered before Telegram: the request never arrived there."""


class Unauthorized(NetworkError):
    """Telegram no longer knows the token. After the library's own error for it, it would never poll again."""


class AiohttpRequest(BaseRequest):
    """One pool of connections to the API at ``root``, through the proxy that the environment names.

    ``initialize`` before use; both that and ``shutdown`` may be called twice.
    """

    __slots__ = ("_root", "_session")

    _pause = 0.0

    def __init__(self, root: str) -> None:
        self._root = root
        self._session: aiohttp.ClientSession | None = None

    @property
    def read_timeout(self) -> float | None:
        """Seconds to wait for a response; a long poll adds its own."""
        return _ANSWER_SECONDS

    async def initialize(self) -> None:
        """Opens the connection pool."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=50),
                headers={"User-Agent": self.USER_AGENT},
                proxy=_proxy(self._root),  # once: the library would look it up in a thread for every call
                cookie_jar=aiohttp.DummyCookieJar(),
            )

    async def shutdown(self) -> None:
        """Closes the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def do_request(  # noqa: PLR0917 the library's own signature
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: object = BaseRequest.DEFAULT_NONE,
        write_timeout: object = BaseRequest.DEFAULT_NONE,
        connect_timeout: object = BaseRequest.DEFAULT_NONE,
        pool_timeout: object = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Status and body. Raises ``NotSent``, ``TimedOut``, ``NoSuchMethod`` or ``NetworkError`` (5xx too).
        ``NotSent``: also what something between us and Telegram answered."""
        if self._pause:
            await asyncio.sleep(self._pause)
        if self._session is None:
            raise NotSent("the connection to Telegram is not open")
        answer = float(read_timeout) if isinstance(read_timeout, int | float) else _ANSWER_SECONDS
        if request_data is not None and request_data.contains_files:
            answer = _UPLOAD_SECONDS
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=answer)
        try:
            async with self._session.request(
                method, url, data=_body(request_data), timeout=timeout, allow_redirects=False
            ) as found:
                if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    # A broken server sends no JSON; the library would log each such page with a traceback.
                    raise NetworkError(f"Telegram answers {found.status}")
                payload = await found.read()
                if not is_answer(found.status, payload):
                    raise NotSent(f"something else than Telegram answers {found.status}")
                status, payload = readable(url, found.status, payload)
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise NetworkError(f"Telegram answers {status}")
                return status, payload
        except aiohttp.ClientConnectorError as error:
            raise NotSent(f"no connection to {error.host}:{error.port} ({type(error).__name__})") from None
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise TimedOut from None
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkError(f"the connection to Telegram broke ({type(error).__name__})") from None

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """The parsed answer. Raises ``TelegramError`` for one that is neither a result nor a refusal: the library
        would raise what it does for a bug of ours."""
        answer: object = BaseRequest.parse_json_payload(payload)
        if not isinstance(answer, dict) or not ("result" in answer or answer.get("ok") is False):
            raise TelegramError("Telegram's answer has no result")
        return answer


class PollRequest(AiohttpRequest):
    """The client for updates only. It leaves parsing them to the receiver, and says whether Telegram answers.

    ``sure``: comes back while only this controller may poll. One that was frozen would end the poll of another.
    """

    __slots__ = ("_contact", "_sure")

    _pause = _PAUSE_SECONDS

    def __init__(self, root: str, contact: Contact, sure: Callable[[], Awaitable[None]]) -> None:
        super().__init__(root)
        self._contact, self._sure = contact, sure

    async def do_request(self, *given: Any, **named: Any) -> tuple[int, bytes]:
        """As the client that it is."""
        try:
            await self._sure()
        except LeadershipLost as error:
            raise NotSent(f"not polled: {error.cause or error}") from None
        try:
            status, payload = await super().do_request(*given, **named)
        except NetworkError as error:
            self._contact.lost(Way.RECEIVE, str(error))
            raise
        if status == HTTPStatus.OK and _UPDATES.match(payload):
            self._contact.found(Way.RECEIVE)
        else:
            self._contact.lost(Way.RECEIVE, f"it answers {status} when asked for messages")
        if status == HTTPStatus.UNAUTHORIZED:
            raise Unauthorized("the token is no longer valid")
        return status, payload

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """The library's parsed response, with its updates ``unread``."""
        answer = AiohttpRequest.parse_json_payload(payload)
        found = answer.get("result")
        if answer.get("ok") is False:
            return answer
        if not isinstance(found, list) or not all(isinstance(each, dict) and "update_id" in each for each in found):
            raise TelegramError("Telegram's answer has no updates")
        return {**answer, "result": [unread(update) for update in found]}


def _proxy(root: str) -> str | None:
    url = urlsplit(root)
    if not url.hostname or proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    return getproxies().get(url.scheme)


def _body(request_data: RequestData | None) -> aiohttp.FormData | dict[str, str] | None:
    if request_data is None:
        return None
    if not request_data.contains_files:
        return request_data.json_parameters
    form = aiohttp.FormData()
    for name, value in request_data.json_parameters.items():
        form.add_field(name, value)
    for name, upload in request_data.multipart_data.items():
        file_name, content, media_type = upload
        form.add_field(name, content, filename=file_name, content_type=media_type)
    return form
