"""``airboss lock`` in this process: a controller that says nothing, and what people type beside the usual."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from bot.cards import shown
from bot.cli import main
from bot.local import lock_cli
from fleet.errors import Unavailable
from fleet.locks import Granted, LockCause, LockMode, Resource, Want
from fleet.supervise import alongside, own
from gates.locks.book import Request
from tests.console_house import served
from tests.schema import load, problems

ME = f"""
[[people]]
name = "Me"
role = "admin"
ids = ["console::{getpass.getuser()}"]
"""


def test_a_frozen_controller_is_unavailable_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a Unix socket is short
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind("control.sock")
        frozen.listen()
        with pytest.raises(Unavailable, match="said nothing"):
            lock_cli.ask(Path("."), patience_s=0.2, op="acquire", wait_s=0.1)


class Typed:
    """Commands of one home, typed in another thread while its controller runs in this one."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._home, self._capture = home, capture
        self.said = ""

    async def __call__(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The exit status, and what ``--json`` printed."""
        self._capture.readouterr()
        status = await asyncio.to_thread(main, ["--home", str(self._home), "lock", *words, "--json"])
        found = self._capture.readouterr()
        self.said = found.err
        data: dict[str, Any] = json.loads(found.out) if found.out else {}
        assert not data or not problems(data, load("lock.json"))
        return status, data


async def test_what_was_taken_apart_is_renewed_and_released_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(tmp_path, ME):
        typed = Typed(tmp_path, capsys)
        secrets = set()
        for name in ("x", "y"):
            status, data = await typed("acquire", name, "--holder", "anna", "--ttl", "60")
            assert status == 0
            secrets.add(data["leases"][0]["secret"])
        status, data = await typed("renew", "x", "y", "--holder", "anna", "--ttl", "90")
        assert status == 0
        assert {lease["secret"] for lease in data["leases"]} == secrets and len(secrets) == 2
        assert (await typed("acquire", "z", "--holder", "ben", "--ttl", "60"))[0] == 0
        status, data = await typed("release", "x", "z", "y", "--holder", "anna")
        assert (status, data["held"][0]["holder"]) == (1, "ben"), "ben's secret is not anna's"
        assert "released" not in data, "what is refused is refused first"
        assert await typed("release", "x", "y", "--holder", "anna") == (0, {"leases": [], "released": ["x", "y"]})


async def test_a_secret_is_kept_for_as_long_as_it_may_be_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, long_ago = tmp_path / "locks", time.time() - 9 * 24 * 3600
    async with served(tmp_path, ME):
        typed = Typed(tmp_path, capsys)
        for name, holder in (("x", "anna"), ("y", "gone")):
            assert (await typed("acquire", name, "--holder", holder, "--ttl", "60"))[0] == 0
        for file in kept.iterdir():
            os.utime(file, (long_ago, long_ago))
        assert (await typed("renew", "x", "--holder", "anna", "--ttl", "60"))[0] == 0
        assert (await typed("acquire", "z", "--holder", "ben", "--ttl", "60"))[0] == 0
        assert len(list(kept.iterdir())) == 2, "that of y is gone, as is whoever took it"
        assert (await typed("release", "x", "--holder", "anna"))[0] == 0


async def test_a_circle_of_commands_is_refused_with_its_holders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(tmp_path, ME) as (there, _):
        typed = Typed(tmp_path, capsys)
        for holder, name in (("anna", "x"), ("ben", "y")):
            assert (await typed("acquire", name, "--holder", holder, "--ttl", "600"))[0] == 0
        service = there.core.context.locks
        wanted = Request("anna", (Want(Resource("y")),), 600_000_000, LockCause.COMMAND)
        waiting = own(service.acquire(wanted, wait_seconds=600), "anna waits")
        while not service.line:
            await asyncio.sleep(0.01)
        status, data = await typed("acquire", "x", "--holder", "ben", "--ttl", "600", "--wait", "600")
        assert (status, data["held"][0]["holder"], data["circle"]) == (1, "anna", ["ben", "anna"])
        assert "ben for anna for ben. You asked last" in typed.said
        assert not waiting.done()
        assert (await typed("release", "y", "--holder", "ben"))[0] == 0
        assert isinstance(await waiting, Granted)


async def test_what_would_protect_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(tmp_path, ME):
        typed = Typed(tmp_path, capsys)
        for word, why in (
            ("path:shpo:src/**", "no repository called 'shpo'; there are: shop"),
            ("path:Shop:src/**", "no repository called 'Shop'"),
            ("path:shop:src/{a,b}/**", "braces"),
            ("path:shop:src/a,src/b", "comma"),
            ("deploy,port:8080", "comma"),
            ("path:shop:a\nb", "cannot be printed"),
            ("path:shop:.", "the whole repository is written **"),
            ("src/**", "Write path:REPO:src/**"),
        ):
            assert (await typed("acquire", word, "--holder", "anna", "--ttl", "60"))[0] == 2
            assert why in typed.said, typed.said
        assert (await typed("acquire", "deploy", "--holder", "T1", "--ttl", "60"))[0] == 2
        assert "the name of a task" in typed.said


async def test_one_name_is_one_thing_and_what_is_over_is_nobodys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(tmp_path, ME):
        typed = Typed(tmp_path, capsys)
        assert (await typed("acquire", "bu\u0308ro", "--holder", "anna", "--ttl", "60"))[0] == 0
        assert (await typed("acquire", "b\u00fcro", "--holder", "ben", "--ttl", "60"))[0] == 1
        assert (await typed("release", "b\u00fcro", "--holder", "anna"))[0] == 0
        assert (await typed("acquire", "x", "--holder", "anna", "--ttl", "0.1"))[0] == 0
        await asyncio.sleep(0.2)
        assert await typed("release", "x", "--holder", "ben") == (
            1, {"leases": [], "released": [], "not_held": "x"},
        )  # fmt: skip
        _, data = await typed("acquire", "y", "--holder", "anna", "--ttl", "60")
        (tmp_path / "secret").write_text(data["leases"][0]["secret"] + "\r\n", encoding="utf-8-sig")
        assert (await typed("release", "y", "--secret-file", str(tmp_path / "secret")))[0] == 0


async def test_each_lock_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(tmp_path, ME) as (there, _):
        wants = [
            Want(Resource("src", "shop")),
            Want(Resource("deploy")),
            Want(Resource("docs", "shop"), LockMode.SHARED),
        ]
        for number, some in enumerate((wants[:2], wants[2:])):
            request = Request(f"h{number}", tuple(some), 600_000_000, LockCause.COMMAND)
            await there.core.context.locks.acquire(request)
        _, cards = await there.say("/locks")
        said = [shown(each) for each in cards[0].lines]
        assert said[0].startswith("h0 · src, deploy (advisory) · ") and said[1].startswith("h1 · docs (shared) · ")
        assert await asyncio.to_thread(main, ["--home", str(tmp_path), "locks"]) == 0
        rows = capsys.readouterr().out.splitlines()
        assert [row.split(" · ")[0] for row in rows] == [
            "path:shop:src",
            "deploy (advisory)",
            "path:shop:docs (shared)",
        ]


async def test_where_there_are_several_repositories_each_lock_says_of_which(tmp_path: Path) -> None:
    other = '[repos.other]\nurl = "/srv/other.git"\n'
    async with served(tmp_path, ME + other) as (there, _):
        wants = Want(Resource("src", "shop")), Want(Resource("deploy"))
        service = there.core.context.locks
        await service.acquire(Request("h0", wants, 600_000_000, LockCause.COMMAND))
        wanted = Request("h1", wants[:1], 600_000_000, LockCause.COMMAND)
        async with alongside(service.acquire(wanted, wait_seconds=600), "h1 waits"):
            while not service.line:
                await asyncio.sleep(0.01)
            _, cards = await there.say("/locks")
        held, waits = (shown(each) for each in cards[0].lines)
        assert held.startswith("h0 · path:shop:src, deploy (advisory) · ")
        assert "h1 waits for path:shop:src" in waits
        _, cards = await there.say("/unlock path:shop:src as the card names it")
        assert "1 lock taken away" in shown(cards[0].title)


@pytest.mark.parametrize(
    "words",
    [
        ("acquire", "x", "--holder", "a", "--ttl", "nan"),
        ("acquire", "x", "--holder", "a", "--ttl", "inf"),
        ("acquire", "x", "--holder", "a", "--ttl", "-1"),
        ("acquire", "x", "--holder", "a", "--ttl", "5", "--wait", "1e300"),
        ("renew", "x", "--ttl", "5e99"),
    ],
)
def test_times_that_are_none_are_refused_as_options(words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--home", str(tmp_path), "lock", *words])
    assert refused.value.code == 2


async def test_a_secret_that_cannot_be_kept_is_printed_and_a_long_file_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "locks").write_text("in the way")
    long = tmp_path / "long"
    with long.open("wb") as file:
        file.truncate(1 << 21)  # more than the controller takes in one line
    async with served(tmp_path, ME):
        words = ["--home", str(tmp_path), "lock", "acquire", "x", "--holder", "anna", "--ttl", "60"]
        assert await asyncio.to_thread(main, words) == 0
        taken = capsys.readouterr()
        assert taken.out.startswith("x (advisory) · token 1 · until ")
        typed = Typed(tmp_path, capsys)
        assert (await typed("release", "x", "--secret-file", str(long)))[0] == 1
        (printed,) = re.findall(r"It is (\S+), for --secret-file", taken.err)
        (tmp_path / "secret").write_text(printed)
        assert (await typed("release", "x", "--secret-file", str(tmp_path / "secret")))[0] == 0


def test_a_secret_that_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file, why in ((str(tmp_path / "none"), "No such file"), (str(tmp_path), "directory")):
        assert main(["--home", str(tmp_path), "lock", "release", "x", "--secret-file", file]) == 2
        assert why in capsys.readouterr().err


async def test_an_empty_secret_is_none_also_from_a_pipe_to_which_nobody_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe, secret = tmp_path / "pipe", tmp_path / "secret"
    os.mkfifo(pipe)
    secret.touch()
    for file in (pipe, secret):
        words = ["--home", str(tmp_path), "lock", "release", "x", "--secret-file", str(file)]
        async with asyncio.timeout(30):
            assert await asyncio.to_thread(main, words) == 2
        assert "it is empty" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words[:-1], ""])
    opened = lock_cli._at_once(str(pipe), os.O_RDONLY)
    assert os.get_blocking(opened), "one to which somebody writes is waited for"
    os.close(opened)
    async with served(tmp_path, ME):
        typed = Typed(tmp_path, capsys)
        _, data = await typed("acquire", "./src", "--repo", "shop", "--holder", "anna", "--ttl", "60")
        assert data["leases"][0]["resource"] == "path:shop:src"
        assert (await typed("release", "path:shop:./src", "--holder", "anna"))[0] == 0
