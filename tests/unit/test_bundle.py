"""An export: what it contains, and that every change of it is found, by us and by the forty lines of docs/."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.cli import main
from bot.days import days_of
from fleet.events import (
    Event,
    GateClosed,
    GateOpened,
    PipeEnded,
    Refs,
    SessionImported,
    SessionPlaced,
    Source,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)
from fleet.events.counted import CountedLine
from fleet.exits import Exited
from fleet.store import ledger
from fleet.store.core import Store
from fleet.store.ledger import Entry
from gates.receipts import bundle, bundle_check, note, sshsig
from gates.receipts.bundle import Wanted
from gates.receipts.bundle_check import Attempts, Checked
from tests.schema import load, problems

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(letter * 32) for letter in (b"k", b"o"))
PIN = sshsig.public_of(KEY)
VERIFIER = Path(__file__).resolve().parents[2] / "docs" / "verify_bundle.py"
SIZE = 2_000
FULL = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
SAMPLE = range(SIZE) if FULL else (0, 1, 254, 255, 256, 257, 1_023, 1_500, SIZE - 2, SIZE - 1)

DAY_US = 86_400_000_000
NOVEMBER = (date(2026, 11, 1) - date(1970, 1, 1)).days * DAY_US


def entry(event: Event, source: Source = Source.AGENT, **refs: str) -> Entry:
    return Entry(event, "agent", source, Refs(machine="evo-x2", **refs))


def past(event: Event, session: str, at_us: int) -> Entry:
    return Entry(event, "agent", Source.IMPORT, Refs(machine="evo-x2", session=session), at_us)


def gate_run(run: str, *, closed: bool = True) -> list[Entry]:
    refs = {"task": "t1", "session": "t1.1", "turn": "t1.1.1", "gate_run": run}
    opened = GateOpened("tests", "c" * 40, "d" * 40, "b" * 40, ("pytest",), "a" * 64, 1)
    ended = GateClosed("tests", "passed", "", Exited(0), 0, "d" * 40, "gate", True, "0" * 64, 3, 1, 2, None)
    made = [entry(opened, source=Source.CONTROLLER, **refs)]
    return made + ([entry(ended, source=Source.CONTROLLER, **refs)] if closed else [])


def work(size: int, step_us: int = 3_600_000_000) -> list[Entry]:
    """Calls of live sessions (today) and of imported ones (November), attempts of a gate, and calls left open."""
    placed = SessionPlaced("evo-x2", "demo", "abc", "unsafe-same-user", ())
    made = [
        entry(placed, source=Source.CONTROLLER, session="t1.1"),
        *gate_run("t1.1.1-tests"),
        *gate_run("t1.1.1-tests-2", closed=False),
        entry(ToolCallStarted("open", "Bash", "x"), session="t1.1"),
        entry(PipeEnded("p", Exited(0), 0, True, 0), source=Source.SUPERVISOR, session="t1.1"),
    ]
    number = 0
    while len(made) < size:
        number += 1
        at, session = NOVEMBER + number * step_us, f"claude:s{number % 7}"
        tool = "Task" if number % 10 == 0 else "Bash"
        made.append(past(ToolCallStarted(f"c{number}", tool, ""), session, at))
        outcome = ("ok", "failed", "denied")[number % 3]
        if number % 11:
            made.append(past(ToolCallEnded(f"c{number}", outcome, None, ""), session, at))
        made.append(past(UsageReported(1, 2, 3), session, at))
    return [past(SessionImported("claude"), "claude:s0", NOVEMBER), *made][:size]


def exported(path: Path, entries: list[Entry], first: str = "2026-11-01", last: str = "2099-12-31") -> list[bytes]:
    """The lines of an export of these days; the ledger is ``path``.db."""
    days = days_of(first, last, "UTC")
    with Store.open(f"sqlite:///{path}.db") as store:
        if entries:
            with store.transaction() as tx:
                ledger.append_all(tx, entries)

        async def whole() -> bytes:
            planned = await bundle.plan(store, Wanted(days.first, days.last, "UTC", days.period))
            return b"".join([part async for part in bundle.parts(store, planned, KEY)])

        return asyncio.run(whole()).splitlines(keepends=True)


@dataclass
class Export:
    """The lines of an export: header, leaves, events, signatures."""

    lines: list[bytes]
    file: Path

    def check(self, lines: list[bytes]) -> Checked:
        self.file.write_bytes(b"".join(lines))
        return bundle_check.check(self.file, (PIN,))

    def forty_lines(self, lines: list[bytes]) -> subprocess.CompletedProcess[str]:
        """What the shipped verifier says, in an empty directory, with nothing of ours to import."""
        where = self.file.parent / "empty"
        where.mkdir(exist_ok=True)
        self.file.write_bytes(b"".join(lines))
        pins = self.file.with_name("keys")
        pins.write_text(sshsig.allowed_signers_line(PIN))
        command = [sys.executable, "-I", "-S", str(VERIFIER), str(self.file), str(pins)]
        (own := self.file.with_name("temporary files")).mkdir(exist_ok=True)
        environment = {**os.environ, "TMPDIR": str(own)}
        ran = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
        assert not list(where.iterdir())
        return ran


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Export:
    where = tmp_path_factory.mktemp("bundle")
    return Export(exported(where / "ledger", work(SIZE)), where / "export")


def named(checked: Checked) -> str:
    return "; ".join(check.detail for check in checked.checks if not check.ok)


def test_an_export_verifies_and_gives_its_figures_again(log: Export) -> None:
    checked = log.check(log.lines)
    assert not named(checked)
    assert checked.header["size"] == SIZE == len(log.lines) - 3
    figures = checked.header["figures"]
    assert figures["unfinished"] > 1
    assert figures["gates"] == {"passed": 1}
    assert any("t1.1.1-tests-2" in check.detail for check in checked.checks if check.name == "attempts")
    ran = log.forty_lines(log.lines)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said == {name: figures[name] for name in said}
    assert said.keys() == {"tool_calls", "active_days", "sessions", "peak", "failed", "subagents"}


def flip(lines: list[bytes], at: int) -> None:
    line = bytearray(lines[at])
    line[len(line) // 2] ^= 1
    lines[at] = bytes(line)


def replaced(lines: list[bytes], at: int) -> None:
    """A flip that a lazy forger would make: the event stays one, in canonical form."""
    lines[at] = lines[at].replace(b'"actor":"agent"', b'"actor":"agenT"').replace(b'"airboss"', b'"Airboss"')


def drop(lines: list[bytes], at: int) -> None:
    del lines[at]


def reorder(lines: list[bytes], at: int) -> None:
    other = at + 1 if at + 1 < len(lines) - 1 else at - 1
    lines[at], lines[other] = lines[other], lines[at]


def insert(lines: list[bytes], at: int) -> None:
    lines.insert(at, lines[2])


def cut(lines: list[bytes], at: int) -> None:
    """The end is missing, in the middle of this event."""
    lines[at:] = [lines[at][:-9]]


def truncate(lines: list[bytes], at: int) -> None:
    """This event and all after it are missing; the signatures are not."""
    lines[at:-1] = []


@pytest.mark.parametrize("tamper", [flip, replaced, drop, reorder, insert, cut, truncate])
def test_every_single_event_that_is_tampered_with_is_named(
    log: Export, tamper: Callable[[list[bytes], int], None]
) -> None:
    for number in SAMPLE:
        lines = list(log.lines)
        tamper(lines, number + 2)
        found = named(log.check(lines))
        event = number + 1
        wanted = {event - 1, event} if tamper is reorder else {event, event + 1} if tamper is insert else {event}
        assert any(f"event {each}" in found for each in wanted), (number, found)
        if number == SAMPLE[3]:
            assert log.forty_lines(lines).returncode != 0


def test_a_forger_who_also_changes_the_list_of_hashes_is_found(log: Export) -> None:
    lines = list(log.lines)
    replaced(lines, 700)
    lines[1] = lines[1].replace(lines[1][100:104], b"AAAA")
    found = {check.name for check in log.check(lines).checks if not check.ok}
    assert found == {"leaves", "root"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"from":"2026-11-01"', b'"from":"2025-11-01"'),
        (b'"tz":"UTC"', b'"tz":"Asia/Tokyo"'),
        (b'"failed":', b'"failed":1'),
        (b'"before":[]', b'"before":["' + b"0" * 64 + b'"]'),
        (b'"airboss":"bundle"', b'"airboss":"bundle","a":1'),
    ],
)
def test_a_changed_header_is_found(log: Export, old: bytes, new: bytes) -> None:
    lines = [log.lines[0].replace(old, new), *log.lines[1:]]
    assert lines[0] != log.lines[0]
    assert named(log.check(lines))
    assert log.forty_lines(lines).returncode != 0


def test_what_stands_beside_the_lines_is_found(log: Export) -> None:
    for lines in (
        [*log.lines, b"\n"],
        [*log.lines, log.lines[5]],
        [*log.lines[:-1], b"\n", log.lines[-1]],
        log.lines[:-1],
        [*log.lines[:-1], b"{}\n"],
        [log.lines[0], b"[]\n", *log.lines[2:]],
    ):
        assert named(log.check(lines))
    assert log.forty_lines(log.lines[:-1]).returncode != 0


@pytest.mark.parametrize("value", [None, True, -1, 2**53, 10**20, "x", "", [], {}, "9" * 5_000, "\0"])
@pytest.mark.parametrize(
    "name", ["v", "from", "tz", "from_us", "first_seq", "size", "before", "checkpoint", "figures"]
)
def test_a_header_of_any_form_is_only_not_verified(log: Export, name: str, value: object) -> None:
    header = json.dumps({**json.loads(log.lines[0]), name: value}, separators=(",", ":")).encode()
    checked = log.check([header + b"\n", *log.lines[1:4]])
    assert named(checked) and not checked.header


def test_the_times_are_those_of_the_days_that_the_header_names(log: Export) -> None:
    """A signer could name November and count December."""
    header = json.loads(log.lines[0])
    for name, value in (("from", "2026-10-01"), ("to", "2026-11-30"), ("tz", "Asia/Tokyo"), ("upto_us", 2**60)):
        raw = json.dumps({**header, name: value}, separators=(",", ":")).encode()
        assert "not those of its days" in named(log.check([raw + b"\n", *log.lines[1:]]))


@pytest.mark.parametrize("run", ["t1.1.1-tests-" + "9" * 5_000, "t1.1.1-tests-٣", "t1.1.1-tests-0", "x"])
def test_a_gate_run_of_any_name_is_only_not_the_next(run: str) -> None:
    attempts = Attempts()
    attempts.add(_opened(run), whole=True)
    assert (attempts.gap == "") is (run in {"x", "t1.1.1-tests-٣"})


def _opened(run: str) -> Any:
    body = {"gate": "tests"}
    said = {"seq": 1, "kind": "gate.opened", "time_us": 1, "session": "", "machine": "", "source": "", "body": body}
    return msgspec.convert({**said, "turn": "t1.1.1", "gate_run": run}, CountedLine)


def test_another_key_verifies_nothing(log: Export) -> None:
    log.file.write_bytes(b"".join(log.lines))
    checked = bundle_check.check(log.file, (sshsig.public_of(OTHER),))
    assert {check.name for check in checked.checks if not check.ok} == {"signature"}
    assert not checked.header


def test_an_attempt_that_is_missing_is_named(tmp_path: Path) -> None:
    """The ledger itself was written so: every signature and root is right."""
    entries = [*gate_run("t1.1.1-tests"), *gate_run("t1.1.1-tests-3")]
    made = Export(exported(tmp_path / "ledger", entries), tmp_path / "export")
    assert named(made.check(made.lines)) == "event 3: an attempt before t1.1.1-tests-3 is missing"
    ran = made.forty_lines(made.lines)
    assert (ran.returncode, "t1.1.1-tests-3" in ran.stderr) == (1, True)


def test_a_figure_that_the_signer_made_up_is_found(log: Export, tmp_path: Path) -> None:
    """Whoever has the key can sign another number; the events say otherwise."""
    header = json.loads(log.lines[0])
    header["figures"]["failed"] = 0
    raw = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    signatures = json.loads(log.lines[-1])
    signatures["bundle_sig"] = sshsig.sign(KEY, raw, bundle.HEADER_SIGNATURE)
    lines = [raw + b"\n", *log.lines[1:-1], json.dumps(signatures).encode() + b"\n"]
    assert named(log.check(lines)).startswith("failed is ")
    assert "figures" in log.forty_lines(lines).stderr


def test_a_split_view_is_found_between_two_holders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One ledger is shown to two people in two forms, each signed by the real key."""
    home = tmp_path / "home"
    (home / "pinned").mkdir(parents=True)
    (home / "pinned" / "k.pub").write_text(PIN.line + "\n")
    common = tmp_path / "common"
    before = exported(common, work(300))
    for name, word in (("a", "honest"), ("b", "forged")):
        (tmp_path / f"{name}.db").write_bytes((tmp_path / "common.db").read_bytes())
        lines = exported(tmp_path / name, [entry(ToolCallStarted(word, "Bash", ""), session="t1.1")])
        (tmp_path / f"{name}.bundle").write_bytes(b"".join(lines))
    (tmp_path / "common.bundle").write_bytes(b"".join(before))
    notes = tmp_path / "notes"
    notes.mkdir()
    for number, name in enumerate(("common", "b")):
        text = json.loads((tmp_path / f"{name}.bundle").read_bytes().splitlines()[0])["checkpoint"]
        (notes / f"{number}.note").write_text(note.sign(text, KEY))
        (tmp_path / f"{name}.foreign").write_text(note.sign(text, OTHER))

    def verify(name: str, *against: str) -> tuple[int, str]:
        words = [word for each in against for word in ("--against", str(tmp_path / each))]
        status = main(["--home", str(home), "verify", str(tmp_path / name), *words])
        return status, capsys.readouterr().out

    assert verify("a.bundle", "common.bundle") == (0, verify("a.bundle", "common.bundle")[1])
    assert "it fits 1 checkpoints, the last of 300 events" in verify("a.bundle", "common.bundle")[1]
    for copies in (("b.bundle",), ("notes",), ("common.bundle", "b.bundle")):
        status, said = verify("a.bundle", *copies)
        since = 1 if copies == ("b.bundle",) else 301
        assert (status, f"a fork: one of the events {since} to 301" in said) == (1, True), said
    assert verify("b.bundle", "notes")[0] == 0
    assert "there is a checkpoint of 301" in verify("common.bundle", "a.bundle")[1]
    assert verify("a.bundle", "b.foreign")[0] == 2  # nobody whose key is pinned signed it
    keys = [word for key in (PIN, sshsig.public_of(OTHER)) for word in ("--key", key.line)]
    assert main(["--home", str(tmp_path), "verify", str(tmp_path / "a.bundle"), *keys]) == 0
    assert main(["--home", str(tmp_path), "verify", str(tmp_path / "a.bundle"), *keys[2:]]) == 1
    assert verify("a.bundle", "gone")[0] == 2


def test_a_part_of_a_ledger_and_no_event_at_all_verify_too(tmp_path: Path) -> None:
    entries = work(300)
    path = tmp_path / "ledger"
    part = Export(exported(path, entries, "2026-11-03", "2026-11-04"), tmp_path / "part")
    checked = part.check(part.lines)
    assert not named(checked)
    assert checked.header["first_seq"] > 1
    assert part.forty_lines(part.lines).returncode == 0
    for first, ledgers in (("2020-01-01", path), ("2020-01-01", tmp_path / "empty-ledger")):
        nothing = Export(exported(ledgers, [], first, first), tmp_path / "nothing")
        assert not named(nothing.check(nothing.lines))
        assert nothing.forty_lines(nothing.lines).returncode == 0


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, file = tmp_path / "home", tmp_path / "november.bundle"
    home.mkdir()
    exported(home / "airboss", work(50))
    words = ["--home", str(home), "export", "--from", "2026-11-01", "--to", "2026-11-30", "-o", str(file)]
    assert main(words) == 0
    assert "airboss verify" in capsys.readouterr().out
    assert main(["--home", str(home), "verify", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not problems(said, load("verify.json"))
    for option in ("--repo", "--ledger", "--proof"):  # who asks for what is not checked is not told that it holds
        assert main(["--home", str(home), "verify", str(file), option, str(home)]) == 2
        assert f"an export with {option}" in capsys.readouterr().err
    assert main(["--home", str(home), "digest", "--from", "2026-11-01", "--to", "2026-11-30", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert said["figures"] == {name: figures[name] for name in said["figures"]}
    lines = file.read_bytes().splitlines(keepends=True)
    flip(lines, 20)
    file.write_bytes(b"".join(lines))
    assert main(["--home", str(home), "verify", str(file)]) == 1
    assert "event 19" in capsys.readouterr().out
    assert main([*words[:-1], str(tmp_path / "gone" / "x")]) == 3
    assert main([*words[:4], "2026-11-31", *words[5:]]) == 2
    assert main(["--home", str(tmp_path / "gone"), *words[2:]]) == 2


def test_a_pin_for_receipts_alone_is_no_pin_for_exports(log: Export, tmp_path: Path) -> None:
    log.file.write_bytes(b"".join(log.lines))
    pins = tmp_path / "pins"
    for namespaces, status in (("airboss-receipt-v1", 2), ("airboss-bundle-v1,airboss-checkpoint-v1", 0)):
        pins.write_text(f'airboss namespaces="{namespaces}" {PIN.line}\n')
        assert main(["verify", str(log.file), "--allowed-signers", str(pins)]) == status


def test_the_forty_lines_are_forty_and_shown_in_the_page() -> None:
    text = VERIFIER.read_text()
    code = [line for line in text.splitlines() if line.strip()][1:]  # without the docstring
    assert len(code) <= 40
    assert text in (VERIFIER.parent / "verify.md").read_text(encoding="utf-8")
