"""The command line: quick, and clear about what it cannot do."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from bot import cli
from bot.cli import main
from bot.doctor.controller import running
from bot.doctor.findings import Severity
from bot.local import client
from bot.local.client import SOCKET
from bot.local.options import Later
from fleet.errors import Misused, Unavailable

HEAVY = "pydantic sqlalchemy rich asyncio asyncssh matplotlib alembic telegram slack_bolt"


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Path]:
    """The far end of the socket: a home where every request is answered with "0"."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / SOCKET))
        server.listen()

        def answer() -> None:
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.recv(65_536)
                    client.sendall(b'{"v": 1, "out": "hello\\n"}\n{"v": 1, "end": 0}\n')

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        yield tmp_path
        server.shutdown(socket.SHUT_RDWR)
        answering.join()


@pytest.mark.parametrize("argv", [["--help"], ["chat", "--say", "/status"]])
def test_a_quick_command_loads_nothing_heavy(controller: Path, argv: list[str]) -> None:
    code = (
        "import sys\n"
        "from bot import cli\n"
        "try:\n"
        f"    cli.main({['--home', str(controller), *argv]!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print('LOADED', [name for name in {HEAVY.split()!r} if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "LOADED []"
    assert "hello" in ran.stdout or argv == ["--help"]


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["digest"], 2, "fleet.toml"),
        (["digest", "7d", "--from", "2026-11-01", "--to", "2026-11-02"], 2, "Give one or the other"),
        (["digest", "--tz", "Europe/Berlin"], 2, "--from and --to is missing"),
        (["status"], 3, "check AIRBOSS_HOME"),
        (["receipt", "t1"], 2, "store"),
        (["machines", "list"], 2, "fleet.toml"),
        (["chat", "--wait"], 2, "--say"),
        (["chat", "--key", "k"], 2, "--say"),
        (["machines", "add", "x", "--ssh", "nonsense"], 2, "USER@HOST"),
        (["verify", "nothing.json", "--key", "nonsense"], 2, "key"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], status: int, said: str
) -> None:
    assert main(["--home", str(tmp_path / "home"), *argv]) == status
    assert said in capsys.readouterr().err


def test_a_home_that_cannot_be_used_is_called_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "home" / "airboss.log").mkdir(parents=True)
    for home, status, said in (("file", 2, "it is not a directory"), ("home", 3, "Could not write the log")):
        assert main(["--home", str(tmp_path / home), "serve"]) == status
        assert said in capsys.readouterr().err


def test_an_export_takes_the_place_of_ordinary_files_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("new")
    for name in ("pipe", "link"):
        words = ["export", "--from", "2026-11-01", "--to", "2026-11-30", "-o", str(tmp_path / name)]
        assert main(["--home", str(tmp_path / "home"), *words]) == 2
        assert "it is there, and no ordinary file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ('exec "$@" chat <&- 2> said', 3, "No controller is running"),
        ('exec "$@" status <&- >&- 2>&-', 3, ""),
        ('mkdir gone && cd gone && rmdir ../gone && exec "$@" init 2> ../said', 2, "was deleted"),
    ],
)
def test_odd_surroundings_are_no_internal_error(tmp_path: Path, script: str, status: int, said: str) -> None:
    command = [sys.executable, "-P", "-m", "airboss", "--home", str(tmp_path)]
    assert subprocess.run(["sh", "-c", script, "sh", *command], cwd=tmp_path, check=False).returncode == status
    assert not said or said in (tmp_path / "said").read_text()


@contextlib.contextmanager
def far_end(home: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """A controller that gives one of these to each connection and then goes away; yields what it was asked."""
    asked: list[bytes] = []
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(home / SOCKET))
    server.listen()

    def answer() -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(65_536))
                connection.sendall(answer)
        server.close()

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        yield asked
    finally:
        answering.join()


def test_a_client_sends_the_same_message_again_when_its_connection_is_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = b'{"v": 1, "out": "asked\\n"}\n'
    with far_end(tmp_path, b"", card + b'{"v": 1, "ou', card + b'{"v": 1, "end": 4, "task": "t1"}\n') as asked:
        last = client.ask(str(tmp_path), "say", text="/run it", patience_s=5)
    assert (last["end"], last["task"]) == (4, "t1")
    assert len(set(asked)) == 1 and len(asked) == 3
    assert len(json.loads(asked[0])["id"]) >= 16
    assert capsys.readouterr().out == "asked\n", "what was shown is not shown again"


def test_a_request_that_a_controller_drops_each_time_is_not_sent_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with far_end(tmp_path, *[b""] * 5) as asked, pytest.raises(Unavailable, match="went away 5 times"):
        client.ask(str(tmp_path), "say", text="/run it", patience_s=5)
    assert len(asked) == 5 and capsys.readouterr().err.count("It is back") == 4


def test_a_request_that_is_too_long_is_not_sent(controller: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Misused, match="at once"):
        client.ask(str(controller), "say", text="x" * client.LINE_LIMIT, patience_s=1)
    assert capsys.readouterr() == ("", "")


def test_a_request_that_waits_has_what_is_left_when_it_is_sent_again(tmp_path: Path) -> None:
    with far_end(tmp_path, b"", b'{"v": 1, "end": 1}\n') as asked:
        client.ask(str(tmp_path), "lock", wait_s=60.0, patience_s=5)
    first, again = (json.loads(line)["wait"] for line in asked)
    assert 0 < again < first <= 60.0


def test_a_script_may_close_what_a_command_reads_and_writes(tmp_path: Path) -> None:
    program = "import sys; from bot.cli import main; sys.exit(main(['--home', sys.argv[1], 'locks']))"
    with far_end(tmp_path, b'{"v": 1, "end": 0, "text": "No locks are held."}\n'):
        words = ["sh", "-c", 'exec "$0" -c "$1" "$2" <&- >&-', sys.executable, program, str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_client_whose_controller_stays_away_is_told_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with far_end(tmp_path, b'{"v": 1, "out": ""}\n'), pytest.raises(client.ControllerGone) as ended:
        client.ask(str(tmp_path), "say", text="/run it", key="mine", patience_s=0.1)
    assert ended.value.key == "mine"
    assert cli._explained(ended.value) == 3
    said = capsys.readouterr().err
    assert "Start it: systemctl start airboss" in said and "--key mine" in said


@pytest.mark.parametrize(
    "argv", [["chat"], ["chat", "--say", "/run repo=shop -- fix it"], ["run", "fix", "it"], ["status"]]
)
def test_a_client_never_serves_a_home_that_nobody_serves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    (tmp_path / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    assert main(["--home", str(tmp_path), *argv]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert "No controller is running" in said.err and "systemctl start airboss" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.toml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve"], "A controller is starting here"),
        (["serve", "--join"], "has this home and does not lead: airboss controllers"),
        (["import"], "No controller is running"),
    ],
)
def test_a_controller_that_has_the_home_and_answers_nobody_yet_is_told_from_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    holds = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", holds, str(tmp_path / "serve.lock"), *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        assert main(["--home", str(tmp_path), "status"]) == 3
        assert said in capsys.readouterr().err
        (finding,) = running({}, "1", tmp_path)
        assert said.lower() in finding.what.lower()
    (finding,) = running({}, "1", tmp_path)
    assert finding.what == "no controller is running on this home"


def test_people_and_machines_are_added_to_fleet_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path)]
    (tmp_path / "fleet.toml").write_text('isolation = "unsafe-same-user"  # a throwaway\n')
    assert main([*home, "machines", "add", "evo-x2", "--label", "linux"]) == 0
    assert main([*home, "people", "add", "Ada", "--role", "admin", "--id", "telegram::12"]) == 0
    assert main([*home, "people", "list"]) == 0
    assert main([*home, "machines", "list"]) == 0
    out = capsys.readouterr().out
    assert "Ada: admin, telegram::12" in out
    assert "evo-x2: this machine, 2 slots" in out
    assert "# a throwaway" in (tmp_path / "fleet.toml").read_text()


def test_a_bad_command_line_is_misuse() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["flly"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "argv",
    [
        ["--home", "", "uninstall", "--yes"],
        ["backup", ""],
        ["import", "claude", " "],
        ["witness", ""],
        ["init", ""],
        ["verify", "t1.json", "--allowed-signers", ""],
        ["gate", "try", "--repo", "", "--base", "a", "--head", "b"],
    ],
    ids=" ".join,
)
def test_an_empty_word_is_not_taken_for_this_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2 and "it is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_is_not_utf_8_shows_what_it_can(encoding: str) -> None:
    shown = BytesIO()
    for errors in ("strict", "surrogateescape"):  # Python chooses the second where LC_ALL is C
        terminal = TextIOWrapper(shown, encoding=encoding, errors=errors)
        cli.write_what_it_can(terminal)
        terminal.write("✓ a │ \udc80")
        terminal.flush()
        terminal.detach()
    assert shown.getvalue().count(b" a ") == 2


def test_whatever_a_person_says_can_be_sent_again_with_its_key(controller: Path) -> None:
    assert main(["--home", str(controller), "undo", "t1", "--key", "mine"]) == 0


def test_a_controller_that_takes_a_question_and_says_nothing_is_frozen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / SOCKET))
        server.listen()
        with pytest.raises(client.ControllerFrozen) as ended:
            client.ask(str(tmp_path), "say", text="/run it", key="mine", look_s=0.05)
    assert cli._explained(ended.value) == 3
    said = capsys.readouterr().err
    assert "is running, and does not answer" in said and "--key mine" in said
    (finding,) = running({"frozen": True}, "1", tmp_path)
    assert (finding.level, finding.what.partition(":")[0]) == (Severity.BAD, "it runs, and does not answer")


def test_one_that_says_that_it_lives_is_waited_for(controller: Path) -> None:
    client.demand_life(str(controller), 60)
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0.02)
        silences: list[int] = []

        def silent() -> None:
            silences.append(1)
            if len(silences) == 3:
                there.sendall(b'{"out": "a"}\n{"en')
            if len(silences) == 5:
                there.sendall(b'd": 1}\n')

        assert list(client.answers(here, silent)) == [{"out": "a"}, {"end": 1}]
    assert len(silences) >= 5


def test_what_serve_says_of_a_wrong_word_is_what_other_commands_say(capsys: pytest.CaptureFixture[str]) -> None:
    """It makes no options of the others."""
    said = []
    for words in (["serve", "bogus"], ["doctor", "bogus"]):
        with pytest.raises(SystemExit):
            main(words)
        said.append(capsys.readouterr().err)
    assert said[0] == said[1] and "unrecognized arguments: bogus" in said[0]


def _commands(parser: argparse.ArgumentParser) -> Iterator[object]:
    """What carries each command out."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _commands(below)
    yield parser.get_default("run")


def test_each_command_that_is_imported_late_is_there() -> None:
    late = [each for each in _commands(cli._parser()) if isinstance(each, Later)]
    assert len(late) > 30
    assert all(callable(each.function) for each in late)
