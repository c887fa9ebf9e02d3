"""``airboss hooks``: what becomes of the agents' settings, whatever stands in them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.cli import main
from fleet.agents.hooked import MARK, HookedAgent, merged, removed


def test_of_an_entry_that_others_share_only_ours_is_taken() -> None:
    settings = merged({}, HookedAgent.CLAUDE, "p", "d")
    mine = {"type": "command", "command": f"/usr/bin/log_{MARK} mine"}
    settings["hooks"]["Stop"][0]["hooks"].append(mine)
    settings["hooks"]["SessionEnd"] += [None, "", {"hooks": "odd"}]
    left = {"Stop": [{"hooks": [mine]}], "SessionEnd": [None, "", {"hooks": "odd"}]}
    assert removed(settings) == {"hooks": left}


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A login with a Claude Code of its own; yields what runs ``airboss hooks`` there."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    (tmp_path / ".claude").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["--home", str(tmp_path / "home"), "hooks", *words])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (b'// mine\n{"model": "m"}', "line 1, column 1"),
        (b'{"model": 1, "model": 2}', "it has a name twice"),
        (b'{"model": "\xe9"}', "can't decode"),
        (b'{"model": "\\ud800"}', "surrogates"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "maximum recursion depth"),
        (None, "it is no file"),
    ],
    ids=["comment", "twice", "latin-1", "surrogate", "deep", "directory"],
)
def test_settings_that_cannot_be_read_are_named_and_nothing_is_installed(
    tmp_path: Path,
    person: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    settings: bytes | None,
    said: str,
) -> None:
    file = tmp_path / ".claude" / "settings.json"
    file.mkdir() if settings is None else file.write_bytes(settings)
    assert person("install") == 2
    assert said in (told := capsys.readouterr().err) and ".claude/settings.json" in told
    assert not (tmp_path / ".airboss-hooks").exists() and not (tmp_path / ".codex").exists()
    assert settings is None or file.read_bytes() == settings


def test_a_link_to_settings_stays_and_what_it_leads_to_is_cleared(
    tmp_path: Path, person: Callable[..., int]
) -> None:
    file, kept = tmp_path / ".claude" / "settings.json", tmp_path / "dotfiles" / "claude.json"
    file.symlink_to(kept)
    for before in ("", "{}"):
        if before:
            kept.write_text(before)
        assert person("install") == 0 and MARK in kept.read_text()
        assert person("uninstall") == 0
        assert file.is_symlink() and kept.read_text() == "{}\n"


def test_with_the_client_go_the_hooks_of_working_copies_too(
    tmp_path: Path, person: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without their client they would refuse each edit, and nothing could switch them off."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "copy")], check=True)
    with monkeypatch.context() as there:
        there.chdir(tmp_path / "copy")
        assert person("install", "--repo") == 0
    assert person("install") == 0
    assert person("show") == 0
    assert "copy/.claude/settings.local.json" in capsys.readouterr().out
    (tmp_path / ".claude" / "settings.json").unlink()
    (tmp_path / ".airboss-hooks" / "journal").write_bytes(b"{}\n")
    assert person("uninstall") == 0
    assert not list((tmp_path / "copy").glob(".c*/*")) and not list(tmp_path.glob(".c*/*"))
    assert [path.name for path in (tmp_path / ".airboss-hooks").iterdir()] == ["journal"]
    assert person("show") == person("off") == 2, "they are not said to be on"
