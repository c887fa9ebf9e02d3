"""Secrets of 23 kinds go through a real controller, and are found in nothing that it keeps or shows."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from bot.cli import main
from tests.scenarios.house import Answer, House, house

#: By name in .env; only the redactor that has read it can know them.
NAMED = {
    "DEPLOY_PASSWORD": "correct horse/battery+staple",
    "SESSION_COOKIE": "canarycookie0123456789",
    "UNICODE_WORD": "schlüssel-canary-wört",
}
LETTERS = "Canary0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
KINDS = {
    "by name": NAMED["DEPLOY_PASSWORD"],
    "by name, a cookie": NAMED["SESSION_COOKIE"],
    "by name, beyond ASCII": NAMED["UNICODE_WORD"],
    "by name, in a URL": quote(NAMED["DEPLOY_PASSWORD"], safe=""),
    "by name, in JSON": json.dumps(NAMED["UNICODE_WORD"])[1:-1],
    "anthropic": f"sk-ant-api03-{LETTERS[:40]}",
    "openai": f"sk-proj-{LETTERS[:40]}",
    "slack bot": f"xoxb-1111-{LETTERS[:24]}",
    "slack app": f"xapp-1-A1-{LETTERS[:24]}",
    "slack webhook": f"hooks.slack.com/services/T0/B0/{LETTERS[:24]}",
    "telegram": f"123456789:{LETTERS[:35]}",
    "github": f"ghp_{LETTERS[:36]}",
    "github fine-grained": f"github_pat_{LETTERS[:36]}",
    "gitlab": f"glpat-{LETTERS[:24]}",
    "npm": f"npm_{LETTERS[:36]}",
    "stripe": f"sk_live_{LETTERS[:24]}",
    "aws key": "AKIACANARY0123456789",
    "google": f"AIza{LETTERS[:35]}",
    "jwt": f"eyJhbGciOiJI.eyJzdWIiOiJD.{LETTERS[:30]}",
    "bearer": f"Bearer {LETTERS[5:40]}",
    "basic": f"Authorization: Basic {base64.b64encode(LETTERS[:20].encode()).decode()}",
    "private key": rf"-----BEGIN PRIVATE KEY-----\n{LETTERS[:32]}PEM\n-----END PRIVATE KEY-----",
    "url": "https://ada:canary-url-password@example.com/",
}
#: What must not be found, where a kind keeps some of its text.
SECRET = {
    **KINDS,
    "slack webhook": LETTERS[:24],
    "bearer": LETTERS[5:40],
    "basic": base64.b64encode(LETTERS[:20].encode()).decode(),
    "private key": f"{LETTERS[:32]}PEM",
    "url": "canary-url-password",
}


@pytest.fixture(scope="module")
def flown() -> Iterator[tuple[House, str]]:
    """A house whose agent was told, said and named files by every secret, passed and failed; and what was shown."""
    with house() as made:
        env = made.home / ".env"
        env.touch(mode=0o600)
        env.write_text("".join(f"{name}='{value}'\n" for name, value in NAMED.items()))
        made.apart = True
        made.start()
        begun: list[Answer] = []
        secrets = list(KINDS.values())
        for some in (secrets[at : at + 4] for at in range(0, len(secrets), 4)):
            lines = []
            for secret in some:
                name = secret if "/" not in secret else "with no slash in it"
                lines.append(f"printf '%s\\n' '{secret}'; printf '%s\\n' '{secret}' >&2; touch 'file {name}'")
            echo = "shell " + "; ".join(lines)
            begun.append(made.say(f"/run on=evo-x2 {' '.join(some)}\n{echo}\nwrite GOOD {len(begun)}"))
        shown = [said.shown for said in begun]
        shown += [made.wait(said.task).shown for said in begun]
        shown.append(made.say(f"/run on=evo-x2 red\nwrite {KINDS['github']}", wait=True).shown)
        shown.append(
            made.say(f"/run on=evo-x2 wrong\nshell printf '%s' '{KINDS['openai']}'\nexit 1", wait=True).shown
        )
        shown += [
            made.say(line).shown for line in ("/status", "/logs t1", "/diff t1", "/receipt t1", "/digest all")
        ]
        shown.append(made.say(f"/run repo={KINDS['github']} on=evo-x2 no such repository").shown)
        made.configure(repos={"bad": {"url": KINDS["url"], "agent": KINDS["github"]}})
        log = made.home / "airboss.log"
        made.until(lambda: "fleet.toml is invalid" in log.read_text(), "the wrong edit is logged")
        made.configure()
        yield made, "".join(shown)
        made.stop()


def found(text: str) -> list[str]:
    return [kind for kind, secret in SECRET.items() if secret in text]


def test_there_are_twenty_or_more() -> None:
    assert len(KINDS) == len(set(KINDS.values())) >= 20


def test_no_log_has_one(flown: tuple[House, str]) -> None:
    made, _ = flown
    log = made.home / "airboss.log"
    assert found(log.read_text()) == []
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert found((made.directory / "serve.log").read_text()) == []


def test_no_ledger_line_has_one(flown: tuple[House, str]) -> None:
    made, _ = flown
    with closing(sqlite3.connect(made.home / "airboss.db")) as database:
        lines = [row[0] for row in database.execute("SELECT canonical FROM ledger")]
    text = b"\n".join(lines).decode()
    assert found(text) == []
    assert found(json.dumps([json.loads(line) for line in lines], ensure_ascii=False)) == []
    assert "redacted" in text


def test_no_card_has_one(flown: tuple[House, str]) -> None:
    made, shown = flown
    with closing(sqlite3.connect(made.home / "airboss.db")) as database:
        cards = [json.loads(row[0]) for row in database.execute("SELECT card_json FROM outbox")]
    assert found(json.dumps(cards, ensure_ascii=False)) == []
    assert found(shown.replace("\n", "")) == []


def test_no_file_beside_the_store_has_one(flown: tuple[House, str]) -> None:
    made, _ = flown
    holders = {}
    for path in made.home.rglob("*"):
        if path.is_file() and path.name != ".env" and not path.name.startswith("airboss.db"):
            holders[str(path.relative_to(made.home))] = found(path.read_bytes().decode("utf-8", "replace"))
    assert {name: kinds for name, kinds in holders.items() if kinds} == {}


def test_no_export_has_one(flown: tuple[House, str], tmp_path: Path) -> None:
    made, _ = flown
    for form in ("bundle", "csv", "otlp"):
        file = tmp_path / form
        days = ["--from", "2020-01-01", "--to", "2099-12-31"]
        assert main(["--home", str(made.home), "export", *days, "--as", form, "-o", str(file)]) == 0
        assert found(file.read_text()) == [] and (form != "bundle" or file.stat().st_size > 1_000)


def test_no_process_shows_one(flown: tuple[House, str]) -> None:
    made, _ = flown
    assert made.controller is not None
    shown = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            argv = (entry / "cmdline").read_bytes()
            environ = (entry / "environ").read_bytes() if int(entry.name) == made.controller.pid else b""
        except OSError:
            continue
        if int(entry.name) != os.getpid():
            shown[entry.name] = found((argv + environ).decode("utf-8", "replace"))
    assert {pid: kinds for pid, kinds in shown.items() if kinds} == {}
