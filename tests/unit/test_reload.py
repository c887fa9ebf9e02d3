"""``fleet.toml`` while it is edited: one that is being written, or was left empty, changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.reload import LiveConfig, LiveSecrets
from fleet.config import Secrets

OLD = 'isolation = "unsafe-same-user"\n[repos.shop]\nurl = "/srv/shop.git"\n'
NEW = f'{OLD}[repos.docs]\nurl = "/srv/docs.git"\n'


class Over(Exception):
    """All that was to happen has happened."""


class Steps:
    """A clock. While somebody waits, the next thing happens."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    def now_us(self) -> int:
        return 1

    async def sleep(self, seconds: float) -> None:
        if not self._steps:
            raise Over
        self._steps.pop(0)()


async def played(home: Path, *steps: Callable[[Path], object]) -> tuple[LiveConfig, list[set[str]]]:
    """The configuration after these steps of its file, and the repositories after each reload."""
    file, reloads = home / "fleet.toml", list[set[str]]()
    file.write_text(OLD)
    live = LiveConfig(home, Steps(*(lambda step=step: step(file) for step in steps)))

    async def changed() -> None:
        reloads.append(set(live().repos))

    with pytest.raises(Over):
        await live.watch(changed)
    return live, reloads


async def test_a_file_that_is_half_written_is_read_once_whole(tmp_path: Path) -> None:
    half = OLD.partition("[repos")[0]  # a valid file of its own
    steps = (lambda file: file.write_text(half), lambda file: file.write_text(NEW), lambda _: None, lambda _: None)
    _, reloads = await played(tmp_path, *steps)
    assert reloads == [{"shop", "docs"}]


async def test_a_file_that_stays_empty_is_invalid_and_changes_nothing(tmp_path: Path) -> None:
    live, reloads = await played(tmp_path, lambda file: file.write_text(""), *[lambda _: None] * 3)
    assert (set(live().repos), live.invalid, reloads) == ({"shop"}, "fleet.toml is empty", [])


async def test_secrets_that_are_being_written_are_those_of_before(tmp_path: Path) -> None:
    file, seen = tmp_path / ".env", list[str]()
    file.touch(mode=0o600)
    file.write_text("A=old-value\n")
    env = Secrets.load(tmp_path)

    def written() -> None:
        seen.append(env.get("A"))
        file.write_text("A=new-value\n")

    steps = Steps(lambda: file.write_text(""), written, lambda: seen.append(env.get("A")), lambda: None)
    with pytest.raises(Over):
        await LiveSecrets(tmp_path, steps, env, None).watch()
    assert (seen, env.get("A")) == (["old-value", "old-value"], "new-value")


async def test_secrets_that_cannot_be_read_are_said_until_they_can(tmp_path: Path) -> None:
    file, told = tmp_path / ".env", list[str]()
    file.touch(mode=0o600)
    file.write_text("A=old-value\n")
    env = Secrets.load(tmp_path)

    def tell() -> None:
        told.append(live.trouble)

    broken, good = 'A="open\n', "A=new-value\n"
    live = LiveSecrets(tmp_path, Steps(lambda: file.write_text(broken), lambda: None, tell,
                       lambda: file.write_text(good), lambda: None, tell), env, None)  # fmt: skip
    with pytest.raises(Over):
        await live.watch()
    assert "line 1: the quote of A" in told[0] and told[1:] == [""] and env.get("A") == "new-value"
