"""``airboss import`` while a controller runs: the files go to it over the control socket."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.cli import main
from bot.home_lock import only_one
from fleet.events import ImportDone, Source, ToolCallEnded
from fleet.store import ledger
from gates.people import console_owner
from tests.console_house import exchange, request, served
from tests.session_files import ClaudeSession

MINE = f'[[people]]\nname = "Me"\nrole = "operator"\nids = ["{console_owner()}"]\n'


async def test_the_controller_appends_what_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = ClaudeSession("s1", datetime(2026, 11, 3, tzinfo=UTC))
    session.call(1)
    session.write(tmp_path / "projects")
    words = ["--home", str(tmp_path), "import", "claude", str(tmp_path / "projects"), "--json"]
    async with served(tmp_path, MINE) as (there, _):
        for added in (4, 0):
            assert await asyncio.to_thread(main, words) == 0
            assert json.loads(capsys.readouterr().out)["added"] == added
        found = await there.store.read(ledger.read)
        (ended,) = (each for each in found if isinstance(each.event, ToolCallEnded))
        assert (ended.source, ended.actor) == (Source.IMPORT, str(console_owner()))
        assert sum(isinstance(each.event, ImportDone) for each in found) == 1
        mine: dict[str, object] = {"agent": "claude", "machine": "m"}
        wrong = ({"agent": "x"}, {**mine, "facts": [{}]}, {**mine, "done": {}})
        answers = await exchange(tmp_path, *(request(do="import", **fields) for fields in wrong))
        assert [answer["end"] for answer in answers] == [2, 2, 2]
        assert len(await there.store.read(ledger.read)) == len(found)


async def test_a_viewer_may_not_import(tmp_path: Path) -> None:
    async with served(tmp_path, MINE.replace("operator", "viewer")) as (there, _):
        (answer,) = await exchange(tmp_path, request(do="import", agent="claude", machine="m", facts=[]))
        assert answer["end"] == 2
        assert await there.store.read(ledger.size) == 0


def test_a_home_that_is_busy_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = ClaudeSession("s1", datetime(2026, 11, 3, tzinfo=UTC))
    session.call(1)
    session.write(tmp_path / "projects")
    with only_one(tmp_path):  # a controller that starts, and does not answer yet
        assert main(["--home", str(tmp_path), "import", "claude", str(tmp_path / "projects")]) == 3
    assert "another command has this home" in capsys.readouterr().err
