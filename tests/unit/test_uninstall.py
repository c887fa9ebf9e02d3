"""What ``airboss uninstall`` waits for: nothing is removed while somebody may still need it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.home_lock import HomeInUse, only_one
from bot.local import service
from bot.local.uninstalling import uninstall
from fleet.errors import Refused
from fleet.model import TaskState
from fleet.store import pool_slots, sessions, tasks
from fleet.store.core import Store
from tests.empty_store import filled
from tests.pool_yard import session_on

YES = argparse.Namespace(yes=True, json=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a store and a key; the login's HOME has a service file."""
    made, unit = tmp_path / "home", tmp_path / "person" / ".config/systemd/user/airboss.service"
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    unit.parent.mkdir(parents=True)
    unit.touch()
    filled(made / "airboss.db")
    (made / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    (made / ".env").touch(mode=0o600)
    return made


def nothing_is_gone(home: Path) -> None:
    assert (home / ".env").exists()
    assert (Path.home() / ".config/systemd/user/airboss.service").exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [((), "tasks are at work: 1 on macbook"), ((TaskState.ASKING,), "tasks wait for a person: t1")],
)
def test_a_task_that_is_not_over_keeps_everything(home: Path, more: Sequence[TaskState], why: str) -> None:
    with Store.open(f"sqlite:///{home / 'airboss.db'}") as store, store.transaction() as tx:
        session = sessions.session(tx, session_on(tx, "macbook"))
        for state in (TaskState.PREPARING, TaskState.RUNNING, *more):
            tasks.move(tx, session.task, state, "", "airboss")
    with pytest.raises(Refused, match=why):
        uninstall(YES, home)
    nothing_is_gone(home)


def test_a_slot_that_may_still_cost_money_keeps_everything(home: Path) -> None:
    with Store.open(f"sqlite:///{home / 'airboss.db'}") as store, store.transaction() as tx:
        pool_slots.ask(tx, instance=store.instance, pool="big", terms="{}", price_udollar=1)
    with pytest.raises(Refused, match="slots of pools may still cost money: big-1"):
        uninstall(YES, home)
    nothing_is_gone(home)


def test_a_controller_that_stands_by_on_this_home_keeps_everything(home: Path) -> None:
    with only_one(home), pytest.raises(HomeInUse):
        uninstall(YES, home)
    nothing_is_gone(home)


def test_what_is_another_homes_stays(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One login may have two homes, but has one service and one set of hooks."""
    other = home.with_name("other")
    unit, hooks = Path.home() / ".config/systemd/user/airboss.service", Path.home() / ".airboss-hooks"
    unit.write_bytes(service.text_of(other, mac=False, login=""))
    hooks.mkdir()
    (hooks / "settings.json").write_text(json.dumps({"socket": str(other / "control.sock"), "known": []}))
    assert uninstall(YES, home) == 0
    kept = json.loads(capsys.readouterr().out)["kept"]
    assert unit.exists() and hooks.exists()
    assert [line for line in kept if str(other) in line][:2] == [
        f"{unit}: it runs the controller of {other}",
        f"the hooks of this login's agents: they ask {other / 'control.sock'}",
    ]
    unit.write_bytes(service.text_of(home, mac=False, login=""))
    (hooks / "settings.json").write_text(json.dumps({"socket": str(home / "control.sock"), "known": []}))
    assert uninstall(YES, home) == 0
    assert not unit.exists() and not hooks.exists()


def test_hooks_that_cannot_be_removed_are_named_and_keep_no_key(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = Path.home() / ".airboss-hooks"
    ours.mkdir()
    (ours / "settings.json").write_text(json.dumps({"socket": str(home / "control.sock")}))
    (Path.home() / ".claude").mkdir()
    (Path.home() / ".claude" / "settings.json").write_text("{ // airboss_hook\n}")
    assert uninstall(argparse.Namespace(yes=True, json=True, agent=""), home) == 3
    (failed,) = json.loads(capsys.readouterr().out)["failed"]
    assert "the hooks of this login's agents" in failed and "line 1" in failed
    assert not (home / ".env").exists()
