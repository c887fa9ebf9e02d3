"""The documents say what is there: commands that exist, events that are written, links that lead somewhere."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from bot.cli import _parser, main
from bot.kept import KEPT
from fleet.config.limits import Limits
from fleet.events import KINDS
from fleet.model import ENDS, TRANSITIONS, TaskState
from fleet.store.tables import metadata
from gates.receipts.sshsig import NAMESPACE, load_or_create, public_of, sign

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_NAMED = re.compile(r"\bairboss ((?:[a-z]+ ?){1,2})")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"")


def verbs(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every subcommand with its words, ``machines add``."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                deeper = [f"{name} {verb}" for verb in verbs(inner)]
                yield from deeper or [name]


VERBS = sorted(verbs(_parser()))


def named(text: str) -> set[str]:
    """The commands that a page shows as code."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    inline = [" ".join(piece.split()) for piece in re.findall(r"`([^`]+)`", prose)]  # one may span two lines
    code = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + inline
    code += re.findall(r"^    (airboss .*)$", text, re.MULTILINE)
    found = set()
    for piece in code:
        for line in piece.splitlines():
            if line.strip().startswith("airboss ") and "namespaces=" not in line:  # a signers' file has such lines
                words = _NAMED.match(line.strip())
                found.add(words.group(1).strip() if words else line)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    first = {verb.split()[0] for verb in VERBS}
    for command in named(page.read_text(encoding="utf-8")):
        head = command.split()[0]
        assert head in first, f"{page.name}: airboss {command}"
        if any(verb.startswith(f"{head} ") for verb in VERBS) and command != head:
            assert command in VERBS, f"{page.name}: airboss {command}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_help_and_is_documented(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb.split(), "--help"])
    assert ended.value.code == 0
    assert f"airboss {verb}" in capsys.readouterr().out
    assert f"`airboss {verb}`" in (ROOT / "docs" / "README.md").read_text(encoding="utf-8")


def test_the_options_that_the_readme_gives_are_known() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in re.findall(r"^airboss .*$", text, re.MULTILINE) if not line.startswith("airboss:")]
    assert len(lines) >= 6
    for line in lines:
        _parser().parse_args(shlex.split(line, comments=True)[1:])


def test_every_event_is_listed_with_its_body() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| [^|]+ \| (.*) \|$", page, re.MULTILINE))
    assert rows == {
        kind: ", ".join(f"`{field.name}`" for field in fields(event)) for (kind, _), event in KINDS.items() if kind
    }


def drawing() -> str:
    """The states of a task and their legal moves, from the one table that the code asks. The ends that a person may
    go on from are drawn as one."""
    again = {state for state, moves in TRANSITIONS.items() if state in ENDS and moves}
    names = ", ".join(state for state in TaskState if state in again)
    lines = ["stateDiagram-v2", f'    state "{names}" as bad', "    [*] --> queued"]
    for old, moves in TRANSITIONS.items():
        name = "bad" if old in again else str(old)
        new = [str(state) for state in TaskState if state in moves - again]
        new += ["bad"] if again <= moves else []
        new += ["[*]"] if old in ENDS else []
        lines += [f"    {name} --> {state}" for state in new]
    return "\n".join(("```mermaid", *dict.fromkeys(lines), "```"))


def test_the_drawing_of_states_is_made_from_the_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert drawing() in page, f"docs/architecture.md lacks this drawing:\n{drawing()}"


def test_the_table_of_rooms_is_the_tree() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page[page.index("## Rooms") : page.index("## Every event")]
    rows = re.findall(r"^\| `([a-z_/]+)/` \|", table, re.MULTILINE)
    tree = {
        str(path.parent.relative_to(ROOT))
        for package in ("fleet", "gates", "bot")
        for path in (ROOT / package).rglob("*.py")
        if path.parent.name != "versions"  # alembic's own folder within the migrations
    }
    assert sorted(rows) == sorted(tree | {"tests", "deploy"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link, picture in _LINK.findall(page.read_text(encoding="utf-8")):
        target = link or picture
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_command_in_the_readme_checks_a_receipt_and_refuses_a_changed_one(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ssh-keygen -Y verify .*$", text, re.MULTILINE)
    key, data = load_or_create(tmp_path), b'{"_type":"https://in-toto.io/Statement/v1"}\n'
    (tmp_path / "airboss").mkdir()
    (tmp_path / "airboss" / "allowed_signers").write_text(
        f'airboss namespaces="{NAMESPACE}" {public_of(key).line}\n'
    )
    (tmp_path / "t1.json.sig").write_text(sign(key, data))
    environment = {**os.environ, "HOME": str(tmp_path)}
    for content, status in ((data, 0), (data + b" ", 255)):
        (tmp_path / "t1.json").write_bytes(content)
        ran = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert ran.returncode == status, ran.stderr


def test_the_pictures_stay_small() -> None:
    pictures = list((ROOT / "docs" / "pictures").glob("*.png"))
    assert len(pictures) >= 21
    assert all(picture.stat().st_size <= 80_000 for picture in pictures)


def test_the_table_of_what_is_kept_is_the_code() -> None:
    page = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (`.+?`) \| (.+?) \| (.*?) \|$", page, re.MULTILINE)
    shown = [(what, tuple(re.findall(r"`([^`]+)`", places)), limit, but) for what, places, limit, but in rows]
    limits = set(Limits.model_fields)
    assert shown == [
        (
            each.what,
            each.places,
            f"[`{each.limit}`](configuration.md#limits)" if each.limit in limits else each.limit,
            each.but,
        )
        for each in KEPT
    ]
    assert {each.limit for each in KEPT if re.fullmatch(r"[a-z_]+_[a-z_]+", each.limit)} <= limits
    tables = [place for each in KEPT for place in each.places if re.fullmatch("[a-z_]+", place)]
    assert sorted(tables) == sorted(metadata.tables), "each table is in the list once"
