"""An agent writes its key into a file: nothing lands, the card shows the place, and a person decides."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator

import pytest

from tests.scenarios.house import House, house

KEY = "demo-Key-81ZQ.0123456789_abcdef"
NEWER = "newer-Key-17YX.9876543210_fedcba"
# Put together here, so that no scanner of this repository takes it for a real one.
TOKEN = "gh" + "p_NqVwYS81VP7Hb1DX8pPd5khxE3pyIgKpaUnA"


@pytest.fixture(scope="module")
def made() -> Iterator[House]:
    with house() as opened:
        (opened.home / ".env").write_text(f"DEMO_KEY={KEY}\n")
        (opened.home / ".env").chmod(0o600)
        opened.agents["keyed"] = {**plain(opened), "env": ["DEMO_KEY"]}
        opened.configure()
        opened.start()
        yield opened


def plain(opened: House) -> dict[str, object]:
    return {"driver": "command", "program": [sys.executable, str(opened.directory / "agent.py")]}


def run(made: House, *lines: str) -> tuple[int, str, str]:
    answer = made.say("/run on=evo-x2 agent=keyed " + "\n".join(lines), wait=True)
    return answer.status, answer.shown, answer.task


def test_a_key_is_held_with_its_place_and_lands_once_it_is_released(made: House) -> None:
    before = made.commits()[0]
    wrote = 'shell printf "GOOD one\\nkey = $DEMO_KEY\\n" > work.txt'
    status, shown, task = run(made, "first", wrote)
    assert status == 4, shown
    assert "work.txt:2 ‹redacted:DEMO_KEY›" in shown
    assert all(button in shown for button in ("Release", "Send back to agent", "Stop"))
    assert made.commits()[0] == before
    diff = made.say(f"/diff {task}").shown
    assert "key = ‹redacted:secret›" in diff
    assert KEY not in shown + diff + made.say(f"/logs {task}").shown + made.say("/waiting").shown
    assert made.say(f"/approve {task}").status == 0
    assert made.wait(task).status == 0
    assert KEY in made.main()
    (released,) = made.of(task, "secrets.released")
    assert released.actor.startswith("console:") and KEY not in str(released.event.body())
    # The same value in another form is the same secret: nobody is asked again.
    encoded = base64.b64encode(KEY.encode()).decode()
    status, shown, task = run(made, "second", f"write GOOD two {encoded}")
    assert status == 0, shown
    assert made.of(task, "secrets.released") == []


def test_a_secret_goes_back_to_the_agent_and_its_next_change_lands(made: House) -> None:
    status, shown, task = run(made, "third", f"write GOOD three {TOKEN}")
    assert status == 4, shown
    assert "work.txt:1 ‹redacted:github-pat›" in shown
    diff = made.say(f"/diff {task}").shown
    assert "three ‹redacted:" in diff and TOKEN not in shown + diff
    assert made.say(f"/say {task} write GOOD without it").status == 0
    assert made.wait(task).status == 0
    assert made.main() == "GOOD without it"
    assert made.of(task, "secrets.released") == []


def test_a_refused_secret_does_not_land(made: House) -> None:
    before = made.commits()[0]
    status, _, task = run(made, "fourth", f"write GOOD four {TOKEN[:-1]}D")
    assert status == 4
    assert made.say(f"/deny {task} never").status == 0
    assert made.wait(task).status == 2
    assert made.commits()[0] == before


def test_an_edit_of_env_counts_at_once(made: House) -> None:
    replaced = made.home / ".env.new"
    replaced.write_text(f"DEMO_KEY={NEWER}\nOTHER=x\n")
    replaced.chmod(0o600)
    replaced.replace(made.home / ".env")
    log = made.home / "airboss.log"
    made.until(lambda: ".env was read again; it has: DEMO_KEY, OTHER" in log.read_text(), ".env is read again")
    status, shown, task = run(made, "fifth", 'shell printf "GOOD five\\n$DEMO_KEY\\n" > work.txt')
    assert status == 4, shown
    assert "work.txt:2 ‹redacted:DEMO_KEY›" in shown, "the agent has the new value, and it is searched for"
    diff = made.say(f"/diff {task}").shown
    assert NEWER not in shown + diff and "‹redacted:secret›" in diff
    assert made.say(f"/deny {task}").status == 0
    # A value that the file had is redacted as long as this controller runs.
    said = made.say(f"/run on=evo-x2 agent=keyed chatter 1 {KEY}", wait=True)
    assert KEY not in said.shown


def test_no_secret_is_in_the_ledger_the_log_or_a_document(made: House) -> None:
    ledger = str([recorded.canonical for recorded in made.ledger()])
    files = [path for path in made.home.rglob("*") if path.is_file() and path.name != ".env"]
    texts = {path: path.read_bytes() for path in files if "repos" not in path.parts and ".db" not in path.name}
    for value in (KEY, TOKEN, NEWER):
        assert value not in ledger
        assert [path for path, data in texts.items() if value.encode() in data] == []
