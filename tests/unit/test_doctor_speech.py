"""doctor sends a second of silence to what transcribes voice messages, as Telegram would."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiohttp import web

from bot.doctor.findings import Severity
from bot.doctor.speech import check_speech
from fleet.config import FleetConfig, Secrets, parse_fleet
from tests.far_end.transcriber import FakeTranscriber


def with_command(code: str, more: str = "") -> FleetConfig:
    words = ", ".join(map(repr, (sys.executable, "-c", code, "{audio}")))
    return parse_fleet(f"[speech]\ncommand = [{words}]\n{more}\n", "fleet.toml")


HEARD = "import sys; sys.exit(open(sys.argv[1], 'rb').read(4) != b'OggS')"
"""Hears nothing in what is an Ogg file."""


@pytest.mark.parametrize(
    ("code", "more", "level", "words"),
    [
        (HEARD, "", Severity.OK, "the command of [speech] took a second of silence"),
        (f"{HEARD.replace('sys.exit', 'assert not ')}; print('[BLANK_AUDIO]')", "", Severity.OK, "the command"),
        ("import sys; sys.exit('no model at /srv/models')", "", Severity.BAD, "no model at /srv/models"),
        ("import time; time.sleep(60)", 'timeout = "1s"', Severity.BAD, "no answer within 1s"),
        ("print('x' * 400_000)", "", Severity.BAD, "printed too much"),
    ],
)
async def test_a_command_is_tried(tmp_path: Path, code: str, more: str, level: Severity, words: str) -> None:
    (found,) = await check_speech(with_command(code, more), Secrets({}), tmp_path)
    assert (found.level, words in found.what) == (level, True), found


async def test_a_command_that_is_missing_is_named(tmp_path: Path) -> None:
    config = parse_fleet('[speech]\ncommand = ["/nowhere/whisper", "{audio}"]\n', "fleet.toml")
    (found,) = await check_speech(config, Secrets({}), tmp_path)
    assert found.level is Severity.BAD and "cannot be started" in found.what and "/nowhere/whisper" in found.what


async def test_an_endpoint_is_tried_with_its_key(tmp_path: Path) -> None:
    async with FakeTranscriber(says="").serving() as server:
        config = parse_fleet(server.toml('key = "WHISPER"'), "fleet.toml")
        (missing,) = await check_speech(config, Secrets({}), tmp_path)
        assert missing.what == ".env has no WHISPER" and not server.asked
        (found,) = await check_speech(config, Secrets({"WHISPER": "k3y"}), tmp_path)
        assert found.level is Severity.OK and "the endpoint" in found.what
        assert server.asked[0].headers["Authorization"] == "Bearer k3y" and server.asked[0].data[:4] == b"OggS"

        async def refuse(_: web.Request) -> web.Response:
            return web.Response(status=401)

        server.respond = refuse
        (found,) = await check_speech(config, Secrets({"WHISPER": "wrong"}), tmp_path)
        assert found.level is Severity.BAD and "does not accept our key" in found.what
        assert "wrong" not in f"{found.what} {found.remedy}"


async def test_without_speech_nothing_is_said(tmp_path: Path) -> None:
    assert await check_speech(parse_fleet("", "fleet.toml"), Secrets({}), tmp_path) == []
