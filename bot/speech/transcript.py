"""One voice message becomes text. What comes back is untrusted: bounded, cleaned, on one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from bot.speech.command import by_command
from fleet.config import Secrets, SpeechConfig
from fleet.errors import Refused, Unavailable
from fleet.untrusted import clean

LONGEST_TEXT: Final = 12_000
"""Characters that somebody can still read before they confirm them. Five minutes of fast speech have 6,000."""

HEARD_NOTHING: Final = "no words were heard"

Transcribe = Callable[[SpeechConfig, Path], Awaitable[str]]
"""The words of an audio file. Raises ``Refused``, ``Misused`` or ``Unavailable``."""


async def transcribe(speech: SpeechConfig, audio: Path, *, env: Secrets) -> str:
    """The words of an audio file, on one line. Raises ``Refused``, ``Misused`` or ``Unavailable``."""
    try:
        async with asyncio.timeout(speech.timeout_s):
            if speech.command is not None:
                said = await by_command(speech.command, audio)
            else:
                await asyncio.to_thread(import_module, "bot.speech.endpoint")  # takes long, and few need it
                from bot.speech.endpoint import by_endpoint

                key = env.require(speech.key, "transcribe a voice message") if speech.key else ""
                said = await by_endpoint(speech, key, audio)
    except TimeoutError:
        raise Unavailable(
            attempted="transcribe the voice message",
            cause=f"no answer within {speech.timeout}",
            hint="Try again, or send a shorter one.",
        ) from None
    words = " ".join(clean(said, len(said) + 1).split())
    if not words:
        raise Refused(
            attempted="transcribe the voice message", cause=HEARD_NOTHING, hint="Speak again, or write it."
        )
    if len(words) > LONGEST_TEXT:
        raise Refused(
            attempted="transcribe the voice message",
            cause=f"the text has {len(words):,} characters; {LONGEST_TEXT:,} are taken",
            hint="Send several shorter ones.",
        )
    return words
