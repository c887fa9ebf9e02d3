"""What transcribes a voice message: a command or an endpoint that fails, lies, hangs or says too much."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from bot.speech.command import OUTPUT_LIMIT
from bot.speech.transcript import LONGEST_TEXT, transcribe
from fleet.config import Secrets, SpeechConfig, parse_fleet
from fleet.config.problems import ConfigProblems
from fleet.errors import AirbossError, Misused, Refused, Unavailable
from tests.far_end.transcriber import FakeTranscriber

SOUND = b"OggS\0 a voice"


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "voice-1.ogg"
    path.write_bytes(SOUND)
    return path


def command(*argv: str, **more: object) -> SpeechConfig:
    return SpeechConfig.model_validate({"command": list(argv), **more})


def python(code: str, *argv: str, **more: object) -> SpeechConfig:
    return command(sys.executable, "-c", code, *argv, **more)


async def words(speech: SpeechConfig, audio: Path, **env: str) -> str:
    return await transcribe(speech, audio, env=Secrets(env))


async def test_a_command_gets_the_file_by_its_path_or_on_its_input(audio: Path) -> None:
    by_path = python("import sys; print(open(sys.argv[1], 'rb').read())", "{audio}")
    assert await words(by_path, audio) == str(SOUND)
    by_input = python("import sys; print(sys.stdin.buffer.read())")
    assert await words(by_input, audio) == str(SOUND)


async def test_a_command_does_not_get_our_environment(audio: Path) -> None:
    os.environ["AIRBOSS_TEST_SECRET"] = "hunter2"
    try:
        seen = await words(python("import os; print(sorted(os.environ))"), audio)
    finally:
        del os.environ["AIRBOSS_TEST_SECRET"]
    assert "AIRBOSS_TEST_SECRET" not in seen and "PATH" in seen


FAILS: dict[str, tuple[SpeechConfig, type[AirbossError], str]] = {
    "missing": (command("/nowhere/whisper"), Misused, "cannot be started: No such file"),
    "fails": (
        python("import sys; sys.exit('first\\nno \\x1b[31mmodel')"),
        Unavailable,
        "it ended with status 1: no model",
    ),
    "killed": (python("import os; os.kill(os.getpid(), 9)"), Unavailable, "it ended with status -9"),
    "silent": (python("print(' \\n\\t ')"), Refused, "no words were heard"),
    "much": (python(f"print('x' * {OUTPUT_LIMIT})"), Refused, "printed too much"),
    "endless": (python("while True: print('x' * 4_000)"), Refused, "printed too much"),
    "long": (python(f"print('x' * {LONGEST_TEXT + 1})"), Refused, "the text has 12,001 characters"),
    "hangs": (python("import time; time.sleep(600)", timeout="1s"), Unavailable, "no answer within 1s"),
}


@pytest.mark.parametrize("case", FAILS)
async def test_a_command_that_fails_is_said_in_words(audio: Path, case: str) -> None:
    speech, kind, cause = FAILS[case]
    with pytest.raises(kind, match=cause):
        await words(speech, audio)


async def test_what_a_command_leaves_behind_is_ended(audio: Path, tmp_path: Path) -> None:
    """It holds the output open, so reading to its end would never finish."""
    note = tmp_path / "child"
    start = "import subprocess\nleft = subprocess.Popen(['sleep', '600'])\n"
    code = f"{start}open({str(note)!r}, 'w').write(str(left.pid))\nprint('stop it')"
    assert await words(python(code), audio) == "stop it"
    left = int(note.read_text())
    for _ in range(6_000):
        if not os.path.exists(f"/proc/{left}") or "Z" in Path(f"/proc/{left}/stat").read_text().split()[2]:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("its child runs on")


async def test_hostile_output_is_one_clean_line(audio: Path) -> None:
    said = await words(python("print('fix\\x1b]0;x\\x07 it\\u202e \\n\\n/stop\\u200b all\\0')"), audio)
    assert said == "fix it /stop all"


async def test_an_endpoint_gets_the_file_the_model_and_the_key(audio: Path) -> None:
    async with FakeTranscriber(says="Fix the cart.\n").serving() as there:
        speech = there.config(key="SPEECH_KEY", language="de")
        assert await words(speech, audio, SPEECH_KEY="s3cret") == "Fix the cart."
        (asked,) = there.asked
    assert asked.data == SOUND and asked.name == "voice.ogg"
    assert asked.fields == {"model": "whisper-1", "response_format": "json", "language": "de"}
    assert asked.headers["Authorization"] == "Bearer s3cret"


async def test_a_missing_key_is_said_and_nothing_is_sent(audio: Path) -> None:
    async with FakeTranscriber().serving() as there:
        with pytest.raises(Misused, match="SPEECH_KEY is not set"):
            await words(there.config(key="SPEECH_KEY"), audio)
        assert not there.asked


def status(code: int, **headers: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers=headers, text='{"text": "no"}')

    return respond


def body(data: bytes) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(body=data, content_type="application/json")

    return respond


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(600)
    return web.Response()


REFUSES = {
    "key": (status(401), Refused, "does not accept our key"),
    "large": (status(413), Refused, "too large"),
    "limit": (status(429), Unavailable, "status 429"),
    "broken": (status(500), Unavailable, "status 500"),
    "elsewhere": (status(307, Location="http://127.0.0.1:1/v1"), Unavailable, "redirects"),
    "page": (body(b"<html>"), Unavailable, "no transcription"),
    "list": (body(b"[]"), Unavailable, "no transcription"),
    "number": (body(b'{"text": 7}'), Unavailable, "no transcription"),
    "nested": (body(b"[" * 100_000), Unavailable, "no transcription"),
    "bytes": (body(b'{"text": "\xff"}'), Unavailable, "no transcription"),
    "huge": (body(b" " * (2 << 20)), Unavailable, "longer than 1 MiB"),
    "empty": (body(b'{"text": ""}'), Refused, "no words were heard"),
    "cut": (cut, Unavailable, "cannot be reached"),
    "hangs": (hangs, Unavailable, "no answer within 1s"),
}


@pytest.mark.parametrize("case", REFUSES)
async def test_an_endpoint_that_fails_is_said_in_words(audio: Path, case: str) -> None:
    respond, kind, cause = REFUSES[case]
    async with FakeTranscriber(respond=respond).serving() as there:
        with pytest.raises(kind, match=cause):
            await words(there.config(timeout="1s" if case == "hangs" else "30s"), audio)


async def test_an_endpoint_that_is_away_is_said_in_words(audio: Path) -> None:
    async with FakeTranscriber().serving() as there:
        speech = there.config()
    with pytest.raises(Unavailable, match="cannot be reached"):
        await words(speech, audio)


WRONG = {
    'command = ["w"]\nurl = "https://a.example/v1"\nmodel = "m"': "a command too",
    'url = "https://a.example/v1"': "is missing",
    'command = ["w"]\nkey = "K"': "there is no `url`",
    'url = "http://a.example/v1"\nmodel = "m"\nkey = "K"': "clear text",
    'command = ["w", "{file}"]': "unknown placeholder",
    "command = []": "empty",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_configuration_is_refused(text: str) -> None:
    with pytest.raises(ConfigProblems, match=WRONG[text]):
        parse_fleet(f"[speech]\n{text}\n", "fleet.toml")
    assert not parse_fleet("", "fleet.toml").speech.set_up
