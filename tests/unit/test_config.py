"""``fleet.toml`` and ``airboss.toml``: what a person reads when something is wrong with them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.config import (
    ConfigProblems,
    FleetConfig,
    Secrets,
    airboss_home,
    edit_fleet,
    load_fleet,
    parse_fleet,
    parse_repo_file,
)
from fleet.config.lines import LineMap
from fleet.config.schema import schemas
from fleet.errors import Misused
from fleet.model import Isolation

ROOT = Path(__file__).parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1m6u0Jf5cYw0d4T5Y2aB0n4rD1zJQm2yq3o4v5w6x7"

GOOD = f"""\
[machines.evo-x2]
executor = "local"
labels = ["linux", "gpu"]
run_as = "agents"
gate_as = "gates"

[machines.macbook]
executor = "ssh"
host = "macbook.local"
user = "agents"
gate_as = "gates"
host_key = "{KEY}"

[agents.claude]
driver = "claude"
program = ["claude"]
env = ["ANTHROPIC_API_KEY"]

[repos.shop]
url = "/srv/git/shop.git"
agent = "claude"

[repos.shop.gates.tests]
timeout = "90s"

[[people]]
name = "Ann"
role = "admin"
ids = ["telegram::12345", "slack:T1:U2"]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigProblems) as caught:
        parse_fleet(text, "fleet.toml", login="boss")
    return [str(problem) for problem in caught.value.problems]


def repo_problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigProblems) as caught:
        parse_repo_file(text, "shop@main:airboss.toml")
    return [str(problem) for problem in caught.value.problems]


def test_a_good_fleet(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD)
    fleet = load_fleet(path, login="boss")
    assert fleet.isolation is Isolation.SEPARATE_LOGINS
    assert fleet.machines["evo-x2"].slots == 2
    assert fleet.machines["macbook"].agent_logins == ("agents",)
    assert fleet.machines["macbook"].runs_gates(fleet.isolation)
    assert fleet.repos["shop"].base == "main"
    assert fleet.limits.decode_cap == 8 << 20


def test_a_missing_file_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(Misused, match=r"fleet\.toml.*No such file.*docs/configuration\.md"):
        load_fleet(tmp_path / "fleet.toml")


def test_all_problems_at_once_each_with_line_field_and_remedy() -> None:
    text = GOOD.replace('executor = "local"', 'executor = "lokal"\nslotz = 3')
    text = text.replace('program = ["claude"]', 'program = "claude --yolo"')
    text = text.replace('agent = "claude"', 'agent = "clawd"').replace('"slack:T1:U2"', '"U2", "telegram::12345"')
    assert problems(text) == [
        'fleet.toml:2: machines.evo-x2.executor must be "local" or "ssh", not \'lokal\'. did you mean `local`?',
        "fleet.toml:3: machines.evo-x2.slotz is an unknown key. did you mean `slots`?",
        "fleet.toml:17: agents.claude.program must be a list (argv, not a shell line). "
        'write ["program", "argument"], one item per word',
        "fleet.toml:22: repos.shop.agent names agent 'clawd', which is not in this file. "
        "add [agents.clawd] or name one of: claude",
        "fleet.toml:30: people[0].ids[1] is not an id ('U2'). "
        'write "platform:workspace:user", for example "slack:T024BE7LD:U02JPF3AB" or "telegram::12345"',
        "fleet.toml:30: people[0].ids[2] is listed twice (telegram::12345: Ann and Ann). "
        "an id belongs to one person: remove one of them",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ('run_as = "agents"', "", 1, "machines.evo-x2.run_as", "is missing.*unsafe-same-user"),
        ('run_as = "agents"', 'run_as = "boss"', 4, "machines.evo-x2.run_as", "controller's own.*unsafe-same-user"),
        ('gate_as = "gates"\n\n', 'gate_as = "boss"\n\n', 5, "machines.evo-x2.gate_as", "controller's own"),
        (
            'gate_as = "gates"\n\n',
            'gate_as = "agents"\n\n',
            5,
            "machines.evo-x2.gate_as",
            "also the agents' login.*unsafe",
        ),
        ('run_as = "agents"', 'run_as = "root"', 4, "machines.evo-x2.run_as", "root, which can become any login"),
        ('user = "agents"', 'user = "gates"', 11, "machines.macbook.gate_as", "also the agents' login"),
        (
            'gate_as = "gates"\nhost_key',
            "gates = true\nhost_key",
            11,
            "machines.macbook.gates",
            "no login for gates",
        ),
        (
            f'host_key = "{KEY}"',
            "",
            7,
            "machines.macbook.host_key",
            "airboss machines add macbook agents@macbook.local",
        ),
        (KEY, "ssh-ed25519 AAAA", 12, "machines.macbook.host_key", "not an OpenSSH public key"),
        ("macbook.local", "-oProxyCommand=sh", 9, "machines.macbook.host", "no leading dash"),
        ('user = "agents"', 'user = "-l"', 10, "machines.macbook.user", "no leading dash"),
        ("[machines.macbook]", '[machines."Mac Book"]', 7, 'machines."Mac Book"', "not a valid name"),
        ('executor = "local"', 'executor = "local"\nhost = "x"', 3, "machines.evo-x2.host", "ssh machines only"),
        ('timeout = "90s"', 'timeout = "90"', 24, "repos.shop.gates.tests.timeout", "not a duration.*10m"),
        ('timeout = "90s"', "timeout = 90", 24, "repos.shop.gates.tests.timeout", "must be text"),
        ("/srv/git/shop.git", "ext::sh -c id", 20, "repos.shop.url", "transport"),
        ("/srv/git/shop.git", "--upload-pack=id", 20, "repos.shop.url", "not a repository address"),
        ("/srv/git/shop.git", "https://me:hunter2@example.org/x", 20, "repos.shop.url", "~/.netrc"),
        ('agent = "claude"', 'base = "-f"', 21, "repos.shop.base", "not a branch name"),
        (
            'driver = "claude"',
            'driver = "claude"\nask = ["shell", "bash"]',
            16,
            "agents.claude.ask[1]",
            "'bash'.*shell",
        ),
        (
            'driver = "claude"',
            'driver = "claude"\nask = ["exec_command"]',
            16,
            "agents.claude.ask[0]",
            "or a tool: A",
        ),
        ('role = "admin"', 'role = "root"', 28, "people[0].role", '"viewer" or "operator" or "admin"'),
    ],
)
def test_each_wrong_value_is_told_apart(old: str, new: str, line: int, field: str, words: str) -> None:
    assert old in GOOD
    told = problems(GOOD.replace(old, new, 1))
    assert any(
        problem.startswith(f"fleet.toml:{line}: {field} ") and re.search(words, problem) for problem in told
    ), "\n".join(told)


def test_a_password_in_a_url_is_not_repeated() -> None:
    assert "hunter2" not in "\n".join(problems(GOOD.replace("/srv/git/shop.git", "https://me:hunter2@h/x")))


def test_one_shared_login_works_only_under_its_name() -> None:
    shared = '[machines.one]\nexecutor = "local"\n'
    assert problems(shared)
    fleet = parse_fleet('isolation = "unsafe-same-user"\n' + shared, "fleet.toml", login="boss")
    assert fleet.isolation is Isolation.UNSAFE_SAME_USER
    assert fleet.machines["one"].runs_gates(fleet.isolation)


def test_two_entries_of_one_host_may_not_cross() -> None:
    second = '\n[machines.second]\nexecutor = "local"\nrun_as = "gates"\n'
    assert any("machines.evo-x2.gate_as is the agents' login of second" in line for line in problems(GOOD + second))


def test_an_ssh_machine_that_is_this_host_is_no_way_round_the_controllers_login() -> None:
    text = GOOD.replace("macbook.local", "127.0.0.1").replace('user = "agents"', 'user = "boss"')
    assert any("machines.macbook.user is the controller's own login" in line for line in problems(text))


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a = 1\nisolation = \n", "fleet.toml:2: is not TOML: Invalid value"),
        ("[machines.a]\n[machines.a]\n", "fleet.toml:2: is not TOML: "),
        ("a = " + "[" * 50_000, "fleet.toml:1: nests values too deeply"),
        ("a = " + "9" * 5_000, "fleet.toml:1: has a number that is too large"),
        ("a = 1\nb = [0x" + "f" * 5_000 + "]", "fleet.toml:2: b[0] is a number that is too large"),
        ('[x]\na = "b\\u0000"', "fleet.toml:2: x.a contains a NUL byte"),
    ],
)
def test_a_syntax_error_has_its_line(text: str, start: str) -> None:
    (told,) = problems(text)
    assert told.startswith(start)


def test_a_repository_file() -> None:
    parsed = parse_repo_file('[gates.tests]\nrun = ["pytest", "--junitxml={junit}"]\n', "airboss.toml")
    gate = parsed.gates["tests"]
    assert (gate.timeout_us, gate.rework_turns) == (600_000_000, 3)


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ('run = "pytest -q"', 2, "argv, not a shell line"),
        ("run = []", 2, "is empty"),
        ('run = ["-x"]', 2, "starts with an option"),
        ('run = ["a", "{tree}"]', 2, r"unknown placeholder \{tree\}.*\{junit\} is the only one"),
        ('matrix = { py = ["a"] }\nrun = ["a", "{tree}"]', 3, r"unknown placeholder \{tree\}.*\{junit\}, \{py\}"),
        ('run = ["a"]\nmatrix = { junit = ["a"] }', 3, "has the axis 'junit'"),
        ('run = ["a"]\nmatrix = { py = [] }', 3, "has no value for py"),
        ('run = ["a"]\nmatrix = { py = ["a", "a"] }', 3, "has no value for py, or one of them twice"),
        ('timeout = "1h"', 1, "gates.tests.run is missing"),
        ('run = ["a"]\nprotected = ["!x"]', 3, "removes protection"),
        ('run = ["a"]\nprotect = ["x"]', 3, "did you mean `protected`"),
        ('run = ["a"]\nrework_turns = -1', 3, "rework_turns"),
        ('run = ["a\\u0000"]', 2, r"run\[0\] contains a NUL byte"),
        ('run = ["a"]\nenv = { A = "\\u0000" }', 3, "env.A contains a NUL byte"),
    ],
)
def test_a_wrong_gate(body: str, line: int, words: str) -> None:
    told = repo_problems(f"[gates.tests]\n{body}\n")
    assert any(
        problem.startswith(f"shop@main:airboss.toml:{line}: ") and re.search(words, problem) for problem in told
    ), told


def test_a_strangers_file_cannot_write_into_our_message() -> None:
    told = repo_problems('[gates."a\\u001b[2J\\nb"]\nrun = 1\n')
    assert all("\x1b" not in line and "\n" not in line for line in told)
    assert repo_problems(b"[gates]\n\xff")[0].startswith("shop@main:airboss.toml:2: is not UTF-8")
    assert "too long" in repo_problems("#" * (2 << 20))[0]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1h", 3600)])
def test_durations(text: str, seconds: int) -> None:
    parsed = parse_repo_file(f'[gates.t]\nrun = ["a"]\ntimeout = "{text}"\n', "airboss.toml")
    assert parsed.gates["t"].timeout_us == seconds * 1_000_000


_KEYS = st.text("abc", min_size=1, max_size=2)
_VALUES = st.recursive(
    st.one_of(st.integers(0, 9), st.sampled_from(["", "x]#", 'q"', "a\nb", "it's", "\\"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=6,
)


def _written(value: Any, style: int) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_written(item, style)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[\n# ]\n" + "".join(f"{_written(item, style)} , # x\n" for item in value) + "]"
    if isinstance(value, str):
        if style and "'" not in value and "\\" not in value:
            return f"'''\n{value}'''"
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"""{escaped}"""' if style else '"' + escaped.replace("\n", "\\n") + '"'
    return str(value)


@given(st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=3), max_size=3), st.integers(0, 1))
def test_every_key_is_found_on_the_line_it_stands_on(tables: dict[str, dict[str, Any]], style: int) -> None:
    text = "# top\n"
    expected: dict[tuple[str | int, ...], int] = {}
    for table, pairs in tables.items():
        expected[(table,)] = text.count("\n") + 1
        text += f"[{table}] # [no.table]\n"
        for key, value in pairs.items():
            expected[(table, key)] = text.count("\n") + 1
            text += f"{key} = {_written(value, style)}\n"
    assert tomllib.loads(text) == tables
    lines = LineMap(text)
    assert {path: lines.line(path) for path in expected} == expected


def test_lines_of_arrays_of_tables_and_dotted_keys() -> None:
    text = '[[p]]\nname = "a"\n[[p]]\n"na.me".x = 1\nids = [\n "a",\n "b",\n]\n[p.sub]\nz = 1\n'
    lines = LineMap(text)
    assert lines.line(("p", 1)) == 3
    assert lines.line(("p", 1, "na.me", "x")) == 4
    assert lines.line(("p", 1, "ids", 1)) == 7
    assert lines.line(("p", 1, "sub", "z")) == 10
    assert lines.line(("p", 1, "sub", "missing")) == 9


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRBOSS_HOME", str(tmp_path / "boss"))
    assert airboss_home() == tmp_path / "boss"
    assert airboss_home(str(tmp_path)) == tmp_path
    monkeypatch.delenv("AIRBOSS_HOME")
    assert airboss_home() == Path.home() / ".airboss-home"


def test_where_home_is_can_be_asked_without_loading_pydantic() -> None:
    code = "import sys; from fleet.config import airboss_home; airboss_home(); print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_secrets_are_told_by_name_only(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN='s3cret-value'\nEMPTY=\nDOLLAR=a${TOKEN}b\n")
    secrets = Secrets.load(tmp_path)
    assert secrets.get("TOKEN") == "s3cret-value"
    assert secrets.get("DOLLAR") == "a${TOKEN}b"
    assert secrets.values() == ("s3cret-value", "a${TOKEN}b")
    assert "s3cret" not in f"{secrets!r} {secrets}"
    with pytest.raises(Misused, match=r"OTHER is not set.*\.env"):
        secrets.require("OTHER", "start the Slack adapter")
    assert Secrets.load(tmp_path / "nowhere").values() == ()


def test_the_published_schemas_are_these() -> None:
    for name, text in schemas().items():
        written = (ROOT / "docs" / "schema" / name).read_text("utf-8")
        assert written == text, f"run: python -m fleet.config.schema, then commit docs/schema/{name}"


def test_every_key_is_documented() -> None:
    told = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    schema = FleetConfig.model_json_schema()
    keys = {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", {})}
    assert sorted(key for key in keys if f"`{key}`" not in told) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_files_are_read_as_editors_save_them(tmp_path: Path, encoding: str, newline: str) -> None:
    """With a byte order mark, in what Notepad calls Unicode, with CRLF."""
    repo_file = '# für alle\n[gates.tests]\nrun = ["make", "tésts"]\n'.replace("\n", newline).encode(encoding)
    assert parse_repo_file(repo_file, "airboss.toml").gates["tests"].run == ["make", "tésts"]
    fleet = tmp_path / "fleet.toml"
    fleet.write_bytes(GOOD.replace("\n", newline).encode(encoding))
    assert load_fleet(fleet, login="airboss").repos
    with edit_fleet(fleet, login="airboss") as editor:
        editor.add_person("Ben", "operator", ["telegram::2"])
    assert [person.name for person in load_fleet(fleet, login="airboss").people] == ["Ann", "Ben"]
    (tmp_path / ".env").write_bytes(
        f'# für mich{newline}export A="1" # one{newline}B = 2{newline}'.encode(encoding)
    )
    secrets = Secrets.load(tmp_path)
    assert (secrets.get("A"), secrets.get("B")) == ("1", "2")


POOL = GOOD.replace('gate_as = "gates"', 'gate_as = ["gates1", "gates2"]\nsupervise_as = "gates"', 1)


def test_a_pool_of_agent_logins_has_no_other_use() -> None:
    pool = GOOD.replace('run_as = "agents"', 'run_as = ["agents1", "agents2"]', 1)
    machine = parse_fleet(pool, "fleet.toml").machines["evo-x2"]
    assert machine.agent_logins == ("agents1", "agents2") and machine.has_agent_pool
    for old, new in (('"agents2"', '"agents1"'), ('gate_as = "gates"', 'gate_as = "agents2"')):
        assert any("has another use on the same host" in found for found in problems(pool.replace(old, new, 1)))


def test_a_pool_of_gate_logins() -> None:
    machine = parse_fleet(POOL, "fleet.toml").machines["evo-x2"]
    assert machine.gate_as == ["gates1", "gates2"] and machine.has_gate_pool
    assert parse_fleet(GOOD, "fleet.toml").machines["evo-x2"].gate_as == ["gates"]
    assert not parse_fleet(GOOD, "fleet.toml").machines["evo-x2"].has_gate_pool


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"gates2"', '"gates1"', "lists gates1, which has another use"),
        ('supervise_as = "gates"', 'supervise_as = "gates1"', "lists gates1, which has another use"),
        ('"gates2"', '"root"', "root"),
        ('"gates2"', '"boss"', "boss"),
        ('"gates2"', '"agents"', "agents"),
        ('supervise_as = "gates"', 'supervise_as = "agents"', "is also the agents' login"),
        ('"gates2"', '"-x"', "gate_as"),
        ('"gates2"', '""', "gate_as"),
    ],
)
def test_a_pool_login_has_no_other_use(old: str, new: str, words: str) -> None:
    assert any(words in problem for problem in problems(POOL.replace(old, new, 1)))
