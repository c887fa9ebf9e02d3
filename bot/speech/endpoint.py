"""Transcribes at an endpoint with OpenAI's protocol. Its answer is bounded and decoded here; no redirect is
followed, so the key goes to no other host."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from fleet.config import SpeechConfig
from fleet.errors import AirbossError, Refused, Unavailable
from fleet.untrusted import Untrusted

_ANSWER_LIMIT: Final = 1 << 20
_CONNECT_SECONDS: Final = 10.0
_SHOWN: Final = 160
_DOING: Final = "transcribe the voice message"


class _Transcription(msgspec.Struct):
    text: str


async def by_endpoint(speech: SpeechConfig, key: str, audio: Path) -> str:
    """The text that the endpoint answers for this file. Raises ``Refused`` and ``Unavailable``; the caller limits
    the time."""
    form = aiohttp.FormData()
    form.add_field("model", speech.model)
    form.add_field("response_format", "json")
    if speech.language:
        form.add_field("language", speech.language)
    headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        with audio.open("rb") as sound:
            form.add_field("file", sound, filename=f"voice{audio.suffix}")
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                    trust_env=False,
                    auto_decompress=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                session.post(
                    f"{speech.url}/audio/transcriptions", data=form, headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status != 200:
                    raise _refusal(response.status)
                data = await _bounded(response)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _unavailable(f"it cannot be reached: {_brief(str(error) or type(error).__name__)}") from None
    try:
        return msgspec.json.decode(data, type=_Transcription).text
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _unavailable("its answer is no transcription") from None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > _ANSWER_LIMIT:
            raise _unavailable(f"its answer is longer than {_ANSWER_LIMIT >> 20} MiB")
    return bytes(data)


def _refusal(status: int) -> AirbossError:
    if status in (401, 403):
        return Refused(
            attempted=_DOING,
            on="the endpoint of [speech]",
            cause=f"it does not accept our key (status {status})",
            hint="An admin can correct `key` in fleet.toml, or its value in .env.",
        )
    if status == 413:
        return Refused(
            attempted=_DOING,
            on="the endpoint of [speech]",
            cause="the recording is too large for it",
            hint="Send a shorter one.",
        )
    if 300 <= status < 400:
        return _unavailable(f"it redirects (status {status}), which is not followed")
    return _unavailable(f"it answers with status {status}")


def _unavailable(cause: str) -> Unavailable:
    return Unavailable(
        attempted=_DOING, on="the endpoint of [speech]", cause=cause, hint="Try again in a moment, or write it."
    )


def _brief(text: str) -> str:
    return Untrusted(text).one_line(_SHOWN)
