"""Added lines, and the values of ``.env`` in them, whatever git's patch and the file look like."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from fleet import files
from fleet.agent_events import TurnOutcome
from fleet.errors import Unavailable
from fleet.events import SessionPlacedV2, TurnClosed
from fleet.git.repository import Repository
from fleet.leaks import Leak, from_json, to_json
from fleet.model import TaskMode
from fleet.store import sessions
from fleet.store.recording import record
from gates.leaks import known, rules, scan
from gates.leaks.added import AddedLines, added
from gates.leaks.search import fingerprint_key
from gates.leaks.stored import foreseen
from tests.far_end.repositories import commit, git, make_bare
from tests.flying import world

VALUE = "demo/Key+81ZQ.0123456789_abcdef"
NAMES = {"DEMO_KEY": VALUE}


async def changed(room: Path, base: dict[str, str | bytes], files: dict[str, str | bytes]) -> list[AddedLines]:
    """What a change to a real repository adds, by the controller's own git."""
    bare = make_bare(room / "demo.git", base)
    work = bare.with_suffix(".work")
    repository = Repository("demo", str(bare), "main", room / "mirror")
    tip = await repository.fetch()
    made = commit(work, files)
    git(work, "push", "--quiet", str(repository.mirror), f"{made}:refs/made/{made}")
    return added((await repository.additions(tip, made, 1 << 20)).out)


def places(files: list[AddedLines], values: dict[str, str] | None = None) -> list[tuple[str, int, str]]:
    found = [each for file in files for each in known.find(NAMES if values is None else values, file)]
    return [(each.path, each.line, each.kind) for each in found]


FORMS = {
    "as it is": VALUE,
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 of more": base64.b64encode(f"user:{VALUE}".encode()).decode(),
    "base64 for urls": base64.urlsafe_b64encode(f"a{VALUE}?".encode()).decode(),
    "hex": VALUE.encode().hex(),
    "quoted": quote(VALUE, safe=""),
    "split": f"{VALUE[:15]}' +\n  '{VALUE[15:]}",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_a_value_in_an_added_line_is_found_with_its_place(tmp_path: Path, form: str, end: str) -> None:
    text = f"one\ntwo\nkey = '{form}'\nlast".replace("\n", end)
    files = await changed(tmp_path, {"a.py": f"one{end}two{end}"}, {"a.py": text})
    assert places(files) == [("a.py", 3, "DEMO_KEY")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
async def test_files_that_git_calls_binary_are_read_too(tmp_path: Path, encoding: str) -> None:
    data = b"\x00\xff\xfe\x01\n" if encoding == "latin-1" else b""
    files = await changed(tmp_path, {"a": "1"}, {"settings.bin": data + f"1\n2\n{VALUE}\n".encode(encoding)})
    assert places(files) == [("settings.bin", 4 if data else 3, "DEMO_KEY")]


async def test_what_was_there_before_is_no_added_line(tmp_path: Path) -> None:
    body = "".join(f"line {number}\n" for number in range(40))
    base: dict[str, str | bytes] = {"old.py": f"{body}{VALUE}\n", "kept.py": f"{VALUE}\nx\n"}
    bare = make_bare(tmp_path / "demo.git", base)
    work = bare.with_suffix(".work")
    repository = Repository("demo", str(bare), "main", tmp_path / "mirror")
    tip = await repository.fetch()
    git(work, "mv", "old.py", "new.py")
    made = commit(work, {"kept.py": f"{VALUE}\ny\n"})
    git(work, "push", "--quiet", str(repository.mirror), f"{made}:refs/made/{made}")
    files = added((await repository.additions(tip, made, 1 << 20)).out)
    assert [file.path for file in files] == ["kept.py"] and places(files) == []
    assert await repository.contains(tip, [VALUE, "never", ""]) & {VALUE, "never"} == {VALUE}


async def test_strange_names_and_lines_that_look_like_headers(tmp_path: Path) -> None:
    text = f"+++ b/other\n--- a/x\n@@ -1 +9 @@\n{VALUE}\n"
    files = await changed(tmp_path, {"a": "1"}, {'dir ü/"q"\t.py': text, f"{VALUE.replace('/', '')}.txt": "x"})
    assert places(files) == [('dir ü/"q"\t.py', 4, "DEMO_KEY")]
    assert places(files, {"NAME": VALUE.replace("/", "")})[-1][1:] == (0, "NAME")


def test_a_patch_that_is_cut_anywhere_is_read_as_far_as_it_goes() -> None:
    patch = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,2 @@\n+one\n+two\n"
    for size in range(len(patch)):
        assert [line for file in added(patch[:size]) for line in file.lines] in (
            [], [""], ["o"], ["on"], ["one"], ["one", ""], ["one", "t"], ["one", "tw"], ["one", "two"],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "counts"),
    [
        ("DEMO_HOME_DIRECTORY", "sixteen-or-more-x", True),
        ("DB_PASSWORD", "hunter2", True),
        ("DEBUG_LEVEL", "verbose", False),
        ("API_TOKEN", "12345", False),
    ],
)
def test_which_values_no_change_may_contain(name: str, value: str, counts: bool) -> None:
    assert known.secret(name, value) is counts


# Put together here, so that no scanner of this repository takes it for a real one.
TOKEN = "gh" + "p_NqVwYS81VP7Hb1DX8pPd5khxE3pyIgKpaUnA"


async def test_the_kept_rules_know_tokens_with_their_lines_and_ignore_exemptions() -> None:
    text = f"one\nkey = '{TOKEN}'  # kingfisher:ignore gitleaks:allow\nlast"
    assert [(match.rule, match.line, match.text) for match in await rules.matches(text)] == [
        ("github-pat", 2, TOKEN)
    ]
    ordinary = "import os\n\ndef the_total_is_the_sum_of_all_items(items):\n    return sum(items)\n"
    assert await rules.matches(ordinary) == []


async def test_the_ids_of_a_patch_alone_are_not_searched_and_hide_nothing() -> None:
    """A start of the rules costs 0.4 s, and each ``/diff`` has such a line."""
    head = "diff --git a/a b/a\nindex 3514d7e..1293002 100644\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n"
    before = len(rules._searched)
    assert await rules.matches(f"{head}-one\n+two\n") == []
    assert len(rules._searched) == before
    (found,) = await rules.matches(f"{head}index 3514d7e..1293002 {TOKEN}\n")
    assert (found.line, found.text) == (6, TOKEN)


async def test_what_begins_like_an_archive_is_searched_all_the_same() -> None:
    found = await rules.matches(f"PK\x03\x04\nkey = '{TOKEN}'\n")
    assert [(match.rule, match.line) for match in found] == [("github-pat", 2)]
    with pytest.raises(Unavailable, match="bytes it read 0"):
        await scan.SecretSearches().of(b"PK\x03\x04 is no text")


async def test_a_process_that_stands_ready_is_used_once_replaced_if_it_died_and_put_away() -> None:
    scans = scan.SecretSearches()
    text = f"key = '{TOKEN}'".encode()
    scans.prepare()
    scans.prepare()
    assert TOKEN.encode() in await scans.of(text) and not rooms()
    scans.prepare()
    while not (ready := rooms()):
        await asyncio.sleep(0.01)
    assert len(ready) == 1
    while not (waiting := searching(ready)):
        await asyncio.sleep(0.01)
    os.kill(waiting[0], signal.SIGKILL)
    assert TOKEN.encode() in await scans.of(text)
    scans.prepare()
    await scans.close()
    assert not rooms()


async def test_a_process_stands_ready_from_the_begin_of_a_session_whose_agent_was_quick_the_last_time() -> None:
    scans = scan.SecretSearches()
    for seconds, ready in ((None, False), (3.0, True), (600.0, False), (3.0, True), (math.inf, False)):
        if seconds is not None:
            scans.session_took("quick", seconds)
        scans.session_began("quick")
        scans.session_began("another")
        assert (scans._ready is not None) == ready
        await scans.close()


async def test_the_ledger_says_which_agents_are_quick_and_when_a_search_is_coming(tmp_path: Path) -> None:
    there, searches, ready = world(tmp_path), rules.SEARCHES, []
    with there.store:
        there.store.observe(foreseen)
        for mode in (TaskMode.ASK, TaskMode.CHANGE):
            task = await there.running(mode)
            session = await there.session(task)
            (turn,) = await there.store.read(partial(sessions.turns, session_id=session.id))
            placed = SessionPlacedV2(session.machine, session.agent, session.base, session.isolation, (), "")
            for event in (
                placed,
                TurnClosed("", TurnOutcome.COMPLETED, "", ""),
                placed,
                TurnClosed("", TurnOutcome.FAILED, "", ""),
                placed,
            ):
                await there.store.write(partial(record, event=event, session=session, turn=turn.id))
                ready.append(searches._ready is not None)
                await searches.close()
    assert ready == [*[False] * 5, False, True, True, False, False]


async def test_what_a_killed_controller_left_waiting_ends() -> None:
    begin = "import asyncio, os; from gates.leaks.scan import SecretSearch; asyncio.run(SecretSearch.begin())"
    killed = f"{begin}; os._exit(9)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", killed)
    assert await process.wait() == 9
    left = set(Path(tempfile.gettempdir()).glob(f"airboss-search-{process.pid}-*"))
    waiting = searching(left)
    assert len(left) == len(waiting) == 1
    files.remove_dead_rooms("airboss-search-", "none")
    while searching(left):
        await asyncio.sleep(0.01)
    assert not any(path.exists() for path in left)


def rooms() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"airboss-search-{os.getpid()}-*"))


def searching(found: set[Path]) -> list[int]:
    """The processes that were started for these rooms."""
    names = [str(path).encode() for path in found]
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(name in (entry / "cmdline").read_bytes() for name in names):
                pids.append(int(entry.name))
    return pids


def test_leaks_are_kept_as_json_without_values() -> None:
    found = (Leak("a.py", 3, "github-pat", "0" * 32), Leak('ü "', 0, "DEMO_KEY", "1" * 32))
    assert from_json(to_json(found)) == found
    assert to_json(()) == "" and from_json("") == ()
    assert str(found[0]) == "a.py:3 ‹redacted:github-pat›"
    assert found[0].reason == "adds a secret: a.py:3 ‹redacted:github-pat›"
    too_much = Leak("the rest of the change", 0, "not searched: more than 32 MiB", "2" * 32)
    assert too_much.reason == "may add a secret: the rest of the change was not searched: more than 32 MiB"


def test_of_those_who_make_the_key_of_the_fingerprints_at_once_all_use_one(tmp_path: Path) -> None:
    """Otherwise what a person releases for one change is unknown for the next."""
    with ThreadPoolExecutor(8) as pool:
        keys = {key for number in range(20) for key in pool.map(fingerprint_key, [tmp_path / str(number)] * 8)}
    assert len(keys) == 20
    files.create_durably(tmp_path / "0" / "keys" / "fingerprint.key", b"another")
    kept = list((tmp_path / "0" / "keys").iterdir())
    assert [(each.name, len(each.read_bytes())) for each in kept] == [("fingerprint.key", 32)]
