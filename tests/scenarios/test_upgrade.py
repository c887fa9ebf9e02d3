"""A home of an older version is taken over: its receipt verifies, its open tasks go on, its admin is told once."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bot.telling import news
from fleet.store.migrations import HEAD
from tests.far_end.bot_api import TOKEN, BotApi
from tests.scenarios.house import House, house
from tests.scenarios.old_home import HELD, LANDED, RUNNING, old_home
from tests.scenarios.telegram_house import ADA

HOME = "home_0002.tar.gz"
TITLE = "What changed for you"


def verified(made: House) -> dict[str, bool]:
    """What ``airboss verify`` says of the old receipt, with the repository and the ledger beside it."""
    receipt = made.home / "receipts" / f"{LANDED}.json"
    ledger = str(made.home / "airboss.db")
    argv = [sys.executable, "-m", "bot.cli", "verify", str(receipt), "--repo", str(made.bare), "--ledger", ledger]
    done = subprocess.run(
        [*argv, "--json"], env={"AIRBOSS_HOME": str(made.home)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {check["name"]: check["ok"] for check in json.loads(done.stdout)["checks"]}


def schema(home: Path) -> str:
    with closing(sqlite3.connect(home / "airboss.db")) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def causes(made: House, task: str) -> list[str]:
    return [started.event.body()["cause"] for started in made.of(task, "turn.started")]


def news_cards(made: House) -> int:
    """How many messages of this title were ever put into the outbox."""
    with closing(sqlite3.connect(made.home / "airboss.db")) as database:
        return int(
            database.execute("SELECT count(*) FROM outbox WHERE card_json LIKE ?", (f"%{TITLE}%",)).fetchone()[0]
        )


@contextmanager
def following(made: House) -> Iterator[Iterator[str]]:
    """A terminal that follows the console, as ``airboss chat`` does; yields what it shows."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(30)
        channel.connect(str(made.home / "control.sock"))
        channel.sendall(b'{"v": 1, "do": "follow"}\n')
        yield (json.loads(line).get("out", "") for line in channel.makefile("rb"))


def test_an_old_home_goes_on_from_where_it_was_left() -> None:
    with old_home(HOME, stopped=False) as made:
        assert schema(made.home) == "0002"
        before = made.commits()
        made.start()
        assert schema(made.home) == HEAD
        assert verified(made) == {"signature": True, "statement": True, "repository": True, "ledger": True}
        assert made.wait(RUNNING).status == 0
        assert made.main().strip() == "GOOD three"
        assert made.state(HELD) == "held"
        assert made.say(f"/approve {HELD}").status == 0
        made.until(lambda: "merge" in causes(made, HELD), "the two conflict: its agent gets the merge")
        made.until(lambda: made.state(HELD) == "held", "it still changes a protected file")
        assert made.say(f"/approve {HELD}").status == 0
        assert made.wait(HELD).status == 0
        assert made.main().strip() == "GOOD two"
        assert len(made.commits()) > len(before)
        assert made.say("/run write GOOD anew", wait=True).status == 0
        assert all(verified(made).values())
        made.stop()


def test_the_console_is_told_once_what_changed() -> None:
    with old_home(HOME) as made:
        made.start()
        assert news_cards(made) == 0
        with following(made) as shown:
            assert any(TITLE in text for text in shown)
        made.stop()
        made.start()
        with following(made):
            made.say("/status")
        assert news_cards(made) == 1
        made.stop()


def test_the_first_admins_phone_is_told_once_what_changed() -> None:
    with BotApi() as api, old_home(HOME) as made:
        api.say(ADA, "hello")  # a bot may write only to who wrote to it
        people = [
            {"name": "Vera", "role": "viewer", "ids": ["telegram::501"]},
            {"name": "Ada", "role": "admin", "ids": ["slack:T1:U1", f"telegram::{ADA}"]},
        ]
        made.configure(people=people)
        env = made.home / ".env"
        env.touch(mode=0o600)
        env.write_text(f"AIRBOSS_TELEGRAM_TOKEN={TOKEN}\nAIRBOSS_TELEGRAM_API={api.url}\n")
        made.start()
        api.wait(lambda: [said for said in api.screen(ADA) if TITLE in said.text], "Ada reads what changed")
        made.stop()
        made.start()
        assert news_cards(made) == 1
        made.stop()


def test_a_new_home_is_told_nothing() -> None:
    with house() as made:
        made.start()
        assert made.say("/status").status == 0
        made.stop()
        made.start()
        with following(made):
            made.say("/status")
        assert news_cards(made) == 0
        made.stop()


def test_leadership_of_the_same_home_is_taken_over_at_once_after_a_restart_of_the_machine() -> None:
    """Waiting for this lease to run out would be refused after 20 seconds."""
    with house() as made:
        made.start()
        made.kill()
        with closing(sqlite3.connect(made.home / "airboss.db")) as database, database:
            database.execute("UPDATE leases SET boot = 'the one before', lasts_us = 3600000000")
        made.start()
        assert made.say("/status").status == 0
        made.stop()


def test_the_news_fits_a_phone() -> None:
    for edition in news.EDITIONS:
        assert 0 < len(edition) <= 8
        assert all(len(text) <= 100 for text in edition)
