"""Whether a login may push to a base branch, which makes a repository bypassable, and reaches a reviewer."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.cards import Card, line
from bot.doctor.bypass import bypassed, check_pushes, keep, said
from bot.doctor.findings import Crossing, Finding, Severity
from bot.doctor.reach import check_reach, reached_in
from bot.doctor.reach import keep as keep_reached
from bot.landing_view import landing_summary
from fleet.config import FleetConfig, ReviewerConfig, parse_fleet
from fleet.machines.executors import Executors
from fleet.store.landing_line import LandingPlace
from fleet.store.states import PlaceState
from gates.review import reach
from tests.chat_flight import everything
from tests.far_end.ports import unused_port
from tests.far_end.repositories import git, make_bare

_SSH = """#!/bin/sh
# The far end of an ssh connection, on this machine: runs what git asks for.
for last; do :; done
case "$last" in *receive-pack*) REFUSE ;; esac
exec sh -c "$last"
"""
_FLEET = """
isolation = "unsafe-same-user"
[machines.here]
executor = "local"
home = "HOME"
[agents.demo]
driver = "command"
program = ["cat"]
[repos.shop]
url = "URL"
"""


@contextmanager
def fleet(room: Path, monkeypatch: pytest.MonkeyPatch, refuse: str) -> Iterator[tuple[FleetConfig, Path]]:
    bare = make_bare(room / "shop.git", {"a.txt": "a\n"})
    ssh = room / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(_SSH.replace("REFUSE", refuse))
    ssh.chmod(0o700)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    text = _FLEET.replace("HOME", str(room / "machine")).replace("URL", f"ssh://far.example{bare}")
    yield parse_fleet(text, "fleet.toml"), bare


async def found(config: FleetConfig, home: Path) -> list[Finding]:
    executors = Executors(config, home)
    try:
        return await check_pushes(config, [("here", "agents", "ann", executors.agent("here"))])
    finally:
        await executors.close()


async def test_a_login_that_may_push_makes_a_repository_bypassable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet(tmp_path, monkeypatch, ":") as (config, bare):
        before = git(bare, "for-each-ref")
        (finding,) = await found(config, tmp_path / "home")
        assert finding.level is Severity.BAD and "shop is bypassable: ann may push to main" in finding.what
        assert git(bare, "for-each-ref") == before, "nothing is sent"
        (tmp_path / "home").mkdir(exist_ok=True)
        keep(tmp_path / "home", [finding], config.repos)
        assert said(tmp_path / "home", config) == (
            "bypassable: shop (agents on here) can land what no gate has judged: airboss doctor"
        )
        away = Finding(Severity.BAD, "agents on here", "it does not answer", unavailable=True)
        keep(tmp_path / "home", [away], config.repos)
        assert "shop (agents on here)" in said(tmp_path / "home", config), "nothing new is known of that login"
        keep(tmp_path / "home", [], config.repos)
        assert said(tmp_path / "home", config) == ""


async def test_one_that_is_refused_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = "echo 'ERROR: the key is for reading only' >&2; exit 1"
    with fleet(tmp_path, monkeypatch, refuse) as (config, _):
        (finding,) = await found(config, tmp_path / "home")
    assert finding.level is Severity.OK and finding.crossing is not None
    assert "for reading only" in finding.crossing.how
    assert bypassed([finding], config.repos) == {}


async def test_a_push_that_was_not_even_tried_is_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet(tmp_path, monkeypatch, ":") as (config, _):
        broken = tmp_path / "bin" / "git"
        broken.write_text("#!/bin/sh\nexit 1\n")
        broken.chmod(0o700)
        (finding,) = await found(config, tmp_path / "home")
    assert finding.unavailable and finding.crossing is None and "could not be tried" in finding.what


def test_a_wall_that_was_crossed_counts_and_a_file_that_was_read_does_not(tmp_path: Path) -> None:
    def crossing(deed: str, target: str, *, crossed: bool = True) -> Finding:
        seen = Crossing("evo", "gates", "g", deed, target, "/srv/shop.git", crossed, "it did")
        return Finding(Severity.BAD, "gates on evo", "", crossing=seen)

    around = "a directory around the repository shop"
    assert bypassed([crossing("change", "the base branch of shop")], ["shop", "web"]) == {"shop": ["gates on evo"]}
    assert bypassed([crossing("create", around)], ["shop"]) == {"shop": ["gates on evo"]}
    assert bypassed([crossing("read", "the repository shop")], ["shop"]) == {}
    assert bypassed([crossing("change", "the base branch of shop", crossed=False)], ["shop"]) == {}
    (tmp_path / "bypassable.json").write_text('{"gone": ["agents on evo"], "shop": "?"}')
    assert said(tmp_path, parse_fleet(_FLEET.replace("HOME", "/h").replace("URL", "/r"), "fleet.toml")) == ""


async def test_a_reviewer_that_agents_reach_is_told_and_its_reviews_say_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached_at, gone = server.getsockname()[1], unused_port()
        text = _FLEET.replace("HOME", str(tmp_path / "machine")).replace("URL", "/srv/shop.git")
        for name, port, more in (("near", reached_at, ""), ("gone", gone, ""), ("keyed", reached_at, "key = 'K'")):
            text += f"[reviewers.{name}]\nurl = 'http://127.0.0.1:{port}/v1'\nmodel = 'qwen3'\n{more}\n"
        config = parse_fleet(text, "fleet.toml")
        executors = Executors(config, tmp_path / "home")
        try:
            executor = executors.agent("here")
            facts = await executor.facts()
            logins = [("here", executor, facts)]
            findings = await check_reach(config, logins, facts.boot)
            elsewhere = await check_reach(config, logins, "another boot")
        finally:
            await executors.close()
    assert [(each.level, reached_in([each])) for each in findings] == [
        (Severity.WARN, {"near"}),
        (Severity.OK, set()),
    ]
    assert elsewhere == [], "loopback of another machine is another address"
    keep_reached(tmp_path, findings)
    assert reach.reached(tmp_path) == {"near"}
    away = Finding(Severity.BAD, "agents on here", "it does not answer", unavailable=True)
    keep_reached(tmp_path, [away])
    assert reach.reached(tmp_path) == {"near"}, "nothing new is known"
    keep_reached(tmp_path, [])
    assert reach.reached(tmp_path) == reach.reached(tmp_path / "no home") == frozenset()


async def test_a_reviewer_is_not_out_of_reach_where_nothing_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet(tmp_path, monkeypatch, ":") as (config, _):
        python = tmp_path / "bin" / "python3"
        python.write_text(
            f'#!/bin/sh\ncase "$*" in *create_connection*) exit 1 ;; esac\nexec {sys.executable} "$@"\n'
        )
        python.chmod(0o700)
        reviewers = {"near": ReviewerConfig(url="http://127.0.0.1:1/v1", model="qwen3")}
        executors = Executors(config, tmp_path / "home")
        try:
            executor = executors.agent("here")
            facts = await executor.facts()
            asked = config.model_copy(update={"reviewers": reviewers})
            (finding,) = await check_reach(asked, [("here", executor, facts)], facts.boot)
        finally:
            await executors.close()
    assert finding.unavailable and finding.crossing is None


def test_who_waits_to_land_has_one_line_in_status() -> None:
    def place(task: str) -> LandingPlace:
        return LandingPlace(task=task, repo="shop", state=PlaceState.JOINED)

    lines = landing_summary({"shop": [place("t1"), place("t2")], "web": [place("t3")]}, {"api": "somebody pushed"})
    told = everything(Card(line("x"), lines=tuple(lines)))
    assert "⏸ api lands nothing: somebody pushed · /resume api" in told
    assert "In line to land: shop t1, t2" in told and "t3" not in told
