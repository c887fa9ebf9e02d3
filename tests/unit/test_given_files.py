"""``[repos.NAME] files`` and ``[machines.NAME] ports``: what may be written, and which ports a task has."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config import MachineConfig, parse_fleet
from fleet.config.problems import ConfigProblems
from fleet.flight.surroundings import port_of
from fleet.model import Isolation, PipeEnd, Session
from fleet.store import sessions
from fleet.store.core import Store, Tx
from tests.empty_store import filled
from tests.rows import asked, placed

REPO = '[repos.shop]\nurl = "/srv/shop.git"\n'


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ('{ "../x" = "1" }', "is not a path inside the tree"),
        ('{ ".git/config" = "1" }', "is not a path inside the tree"),
        ('{ "/etc/x" = "1" }', "is not a path inside the tree"),
        ('{ "x" = {} }', "needs `text` or `secret`, not both"),
        ('{ "x" = { text = "1", secret = "X" } }', "needs `text` or `secret`, not both"),
        ('{ "a/.env.test" = "A=1", "b" = { secret = "B" } }', ""),
    ],
)
def test_files_are_inside_the_tree_and_have_one_content(files: str, words: str) -> None:
    text = f"{REPO}files = {files}\n"
    if words:
        with pytest.raises(ConfigProblems, match=words):
            parse_fleet(text.encode(), "fleet.toml")
        return
    found = parse_fleet(text.encode(), "fleet.toml").repos["shop"].files
    assert {path: file.text or file.secret for path, file in found.items()} == {"a/.env.test": "A=1", "b": "B"}


@pytest.mark.parametrize("ports", ["1000-1020", "3000-3005", "4000-3000", "60000-70000"])
def test_a_range_of_ports_holds_ten_that_anybody_may_use(ports: str) -> None:
    with pytest.raises(ConfigProblems, match="is not a range of ports"):
        parse_fleet(f'[machines.a]\nexecutor = "local"\nports = "{ports}"\n'.encode(), "fleet.toml")


def opened(tx: Tx, machine: str = "box") -> Session:
    return placed(tx, asked(tx).id, machine)


def first_port(session: Session, ports: str = "3000-3079") -> int:
    return int(port_of(session, MachineConfig(executor="local", ports=ports))["AIRBOSS_PORT"])


def test_no_two_open_sessions_of_a_machine_share_a_port(tmp_path: Path) -> None:
    """Whatever their tasks' numbers are: one stays open while the whole range of numbers goes by."""
    filled(tmp_path / "a.db")
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store, store.transaction() as tx:
        stays = opened(tx)
        for _ in range(8):
            other = opened(tx)
            assert first_port(other) != first_port(stays)
            sessions.update(tx, other.id, ended_us=tx.now_us())
        some = [stays, *(opened(tx) for _ in range(7))]
        assert sorted(map(first_port, some)) == list(range(3000, 3080, 10))
        assert first_port(opened(tx, "elsewhere")) == 3000
        assert first_port(opened(tx)) == 3000, "a ninth of eight shares"
        sessions.update(tx, stays.id, ended_us=tx.now_us())
        instead = opened(tx)
        assert first_port(instead) == first_port(stays)
        again = sessions.reopen(tx, stays.id)
        assert first_port(again, "3000-3999") not in {
            first_port(each, "3000-3999") for each in (*some[1:], instead)
        }


def test_a_session_of_an_older_store_keeps_the_ports_of_its_tasks_number() -> None:
    old = Session(
        *("t8.1", "t8", "box", "demo", "b", "/w", Isolation.UNSAFE_SAME_USER, "c", "", PipeEnd.NONE, False, "", 0),
        *("{}", "", 0, 0, 0),
    )
    assert first_port(old) == 3070
    assert port_of(old, MachineConfig(executor="local", ports="3000-3079"))["AIRBOSS_PORTS"] == "3070-3079"
