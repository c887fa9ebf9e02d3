"""Whether ``[speech]`` writes down a voice message: one second of silence is sent, as Telegram would."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from bot.doctor.findings import Finding, Severity
from bot.doctor.login import failed
from bot.speech.silence import ogg_silence
from bot.speech.transcript import HEARD_NOTHING, transcribe
from fleet.config import FleetConfig, Secrets
from fleet.errors import AirbossError, Refused
from fleet.files import replace

_SUBJECT: Final = "voice messages"
_TRY: Final = "docs/voice.md has examples that work"


async def check_speech(config: FleetConfig, env: Secrets, directory: Path) -> list[Finding]:
    """One finding where ``[speech]`` is set up. ``directory``: where the recording is put meanwhile."""
    speech = config.speech
    if not speech.set_up:
        return []
    if speech.key and not env.get(speech.key):
        return [Finding(Severity.BAD, _SUBJECT, f".env has no {speech.key}", f"add {speech.key}=… to .env")]
    audio, began = directory / "silence.ogg", time.monotonic()
    try:
        await asyncio.to_thread(replace, audio, ogg_silence())
        await transcribe(speech, audio, env=env)
    except AirbossError as error:
        if not isinstance(error, Refused) or error.cause != HEARD_NOTHING:
            return [failed(_SUBJECT, error, _TRY)]
    who = "the command" if speech.command is not None else "the endpoint"
    took = f"{time.monotonic() - began:.1f} s"
    return [Finding(Severity.OK, _SUBJECT, f"{who} of [speech] took a second of silence in {took}")]
