"""Speaks to an endpoint with OpenAI's protocol.

What it answers is untrusted: bounded, decoded here, and a redirect is never followed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from fleet.config import ReviewerConfig
from fleet.untrusted import clean
from gates.review.exchange import NoReview, WhyNone

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

_ANSWER_LIMIT: Final = 4 << 20
_LISTING_SECONDS: Final = 10.0
_API: Final = "/v1"


class _Message(msgspec.Struct):
    content: str


class _Completed(msgspec.Struct):
    message: _Message
    finish_reason: str


class _Completion(msgspec.Struct):
    model: str
    choices: list[_Completed]


class _Details(msgspec.Struct):
    family: str = ""


class _Listed(msgspec.Struct):
    name: str
    digest: str = ""
    details: _Details | None = None


class _Listing(msgspec.Struct):
    models: list[_Listed]


@dataclass(frozen=True, slots=True)
class Weights:
    """What Ollama says of a model: the digest of its files, and the architecture in them. Empty: not known."""

    digest: str = ""
    family: str = ""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """An endpoint's answer. ``text`` and ``model`` are untrusted."""

    model: str
    text: str
    weights: Weights
    duration_us: int


class Endpoint:
    """One reviewer's endpoint. ``key``: its value, empty for none."""

    def __init__(self, reviewer: ReviewerConfig, key: str) -> None:
        self._reviewer, self._key = reviewer, key

    async def ask(self, body: bytes) -> ModelReply:
        """One answer, from the same model files from start to end. Raises ``NoReview``."""
        async with self._session() as session:
            before = await self._weights(session)
            started = time.monotonic()
            completion = await self._complete(session, body)
            took = time.monotonic() - started
            if await self._weights(session) != before:
                raise NoReview(WhyNone.SWAPPED, "the model behind the name changed during the review")
        if len(completion.choices) != 1 or completion.choices[0].finish_reason != "stop":
            raise NoReview(WhyNone.MALFORMED, "the answer is not complete")
        model = clean(completion.model, 200)
        return ModelReply(model, completion.choices[0].message.content, before, int(took * 1_000_000))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        import aiohttp  # takes long, and few judgements need it

        timeout = aiohttp.ClientTimeout(total=self._reviewer.timeout_us / 1_000_000, sock_connect=_LISTING_SECONDS)
        try:
            async with aiohttp.ClientSession(
                timeout=timeout,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
            ) as session:
                yield session
        except TimeoutError:
            raise NoReview(WhyNone.UNREACHABLE, f"no answer within {self._reviewer.timeout}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            cause = clean(str(error) or type(error).__name__, 200)
            raise NoReview(WhyNone.UNREACHABLE, f"the reviewer did not answer: {cause}") from None

    async def _complete(self, session: aiohttp.ClientSession, body: bytes) -> _Completion:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = f"{self._reviewer.url}/chat/completions"
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            _check_status(response.status)
            return _decoded(await _read(response), _Completion)

    async def _weights(self, session: aiohttp.ClientSession) -> Weights:
        """What the endpoint says of the model's files; nothing for an endpoint that is not Ollama.

        The key is not sent: only the chat endpoint needs it.
        """
        if not self._reviewer.url.endswith(_API):
            return Weights()
        import aiohttp

        url = f"{self._reviewer.url.removesuffix(_API)}/api/tags"
        timeout = aiohttp.ClientTimeout(total=_LISTING_SECONDS)
        async with session.get(url, allow_redirects=False, timeout=timeout) as response:
            if response.status != 200:
                return Weights()
            try:
                listing = _decoded(await _read(response), _Listing)
            except NoReview:
                return Weights()
        wanted = (self._reviewer.model, f"{self._reviewer.model}:latest")
        found = next((each for each in listing.models if each.name in wanted), None)
        if found is None:
            return Weights()
        family = found.details.family if found.details else ""
        return Weights(clean(found.digest.removeprefix("sha256:"), 64), clean(family, 100))


def _check_status(status: int) -> None:
    if status == 200:
        return
    if 300 <= status < 400:
        raise NoReview(WhyNone.UNREACHABLE, f"the endpoint redirects (status {status}), which is not followed")
    if status == 429 or status >= 500:
        raise NoReview(WhyNone.BUSY, f"the endpoint answers with status {status}")
    raise NoReview(WhyNone.NOT_CONFIGURED, f"the endpoint refuses the request with status {status}")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > _ANSWER_LIMIT:
            raise NoReview(WhyNone.MALFORMED, f"the answer is longer than {_ANSWER_LIMIT >> 20} MiB")
    return bytes(data)


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NoReview(WhyNone.MALFORMED, "the endpoint's answer is not a chat completion") from None
