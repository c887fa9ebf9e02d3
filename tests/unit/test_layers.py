"""The tamper layers over changes that are never run: what they hold, what they leave alone, and each one's part."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import replace

import pytest

from fleet.config import GateConfig, LayerName
from fleet.git.changes import ChangedPath
from fleet.git.trees import TreeEntry
from gates.layers.additive import only_adds_tests
from gates.layers.examination import LAYERS, inspect, toolchain_of
from gates.layers.protocol import Change, Toolchain
from gates.runs.definitions import define
from tests.scenarios.gate_house import Files
from tests.tampering import corpus

PYTEST = ["python3", "-m", "pytest"]
#: Changes that show nothing in their text: only the runs can tell.
BY_RUNS = {
    "the output's number decides",
    "the input's number decides",
    "the output is a file without a name",
    "the plugin's directory decides",
    "how deep the stack is decides",
    "log handlers in a doctest",
    "log handlers in an async test",
    "log handlers in unittest async",
    "tests first, log handlers",
    "a set by the library",
    "a number that subtracts to nothing",
    "a number that is less or equal nearby",
    "equal nearby, in latest.py",
    "other data by a directory that is entered late",
    "isclose by a loop over modules",
    "a file read otherwise by a subscript",
    "cases in the source",
    "equal by a state that grows",
    "a local class that is equal to everything",
    "a new stand-in for an installed module",
    "the source rewrites a later test",
    "a new test file patches the source",
    "a new __init__ of the tests patches the source",
    "a test file grows by an import that patches the source",
    "a new product file under spec",
    "the tests read by a command",
    "the tests read under another name",
    "a module of the tests patched under a name that is made",
    "equal to everything near",
    "the environment decides, by the beginning of a name",
    "a new test takes others out of the session",
    "a new test registers a plugin whose hooks have made names",
    "a process of its own reads the tests",
    "a worker that is spawned reads the tests",
    "the kind of the output decides",
    "the kind of the input decides",
    "the log's handlers decide",
    "a hook of the interpreter decides",
    "filters for warnings decide",
    "where modules are loaded from decides",
    "a process past what audits it reads the tests",
    "memory that still has the tests' text",
    "where warnings go decides",
    "the kind of the output decides, when it is loaded",
    "the log's handlers decide, when it is loaded",
    "a hook of the interpreter decides, when it is loaded",
    "how many variables there are decides",
    "text that is equal whatever its case",
    "a number that is equal when it is near",
    "a pool of threads reads the tests",
    "a server in a thread gives out the tests",
    "the tests encoded by a command in their directory",
    "the tests read by a shell alone",
    "a program that a test starts reads the tests",
    "data that a test reads changed",
    "an example in the documentation of a function rewritten",
    "an example in a document rewritten",
    "a threshold in a file loosened",
    "which loggers there are",
    "which exceptions there are, by a name in a file",
    "an inherited pipe",
    "what watches is seen",
    "an int that equals round numbers",
    "an amount that equals by its last digit",
    "a comparison that answers with an object",
    "a list that equals by its length",
    "handlers whose failures are only logged",
    "tasks whose failures are swallowed",
    "cases as objects in the source",
    "the caller's constants, by a type made from a file",
    "a library's function replaced by another, by names in a file",
    "a file that the tests prefer",
    "an exception that takes the test's block along",
}


def change(before: Files, after: Files) -> Change:
    """A change as git would show it."""
    old = {path: text.encode() if isinstance(text, str) else text for path, text in before.items()}
    new = {path: text.encode() if isinstance(text, str) else text for path, text in after.items()}
    paths = [
        ChangedPath("A" if path not in old else "D" if path not in new else "M", path)
        for path in sorted(old | new)
        if old.get(path) != new.get(path)
    ]
    added = {each.path: _added(old.get(each.path, b""), new.get(each.path, b"")) for each in paths}
    base, head = (
        {path: TreeEntry("100644", hashlib.sha1(data).hexdigest()) for path, data in files.items()}
        for files in (old, new)
    )
    return Change(tuple(paths), base, head, old, new, added)


def _added(old: bytes, new: bytes) -> frozenset[int]:
    matcher = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    return frozenset(
        number + 1
        for tag, _, _, first, last in matcher.get_opcodes()
        if tag in ("insert", "replace")
        for number in range(first, last)
    )


def of_corpus(entry: corpus.Change) -> Change:
    before = corpus.BASE | entry.base
    return change(before, {path: text for path, text in (before | entry.files).items() if path not in entry.remove})


async def held(made: Change, *layers: LayerName, run: list[str] | None = None) -> list[str]:
    gate = define("tests", GateConfig(run=run or PYTEST, layers=list(layers or LayerName)))
    return [f"{place.path}:{place.line} {place.why}" for place in (await inspect(gate, made)).held]


@pytest.mark.parametrize("entry", corpus.attempts(), ids=lambda entry: entry.name)
async def test_an_attempt_is_held_or_left_to_the_runs(entry: corpus.Change) -> None:
    if entry.name == "the gate's definition changed":  # held by the pipeline, whatever layers are on
        return
    assert bool(await held(of_corpus(entry))) is (entry.name not in BY_RUNS)


@pytest.mark.parametrize("entry", [*corpus.honest(), *corpus.edits()], ids=lambda entry: entry.name)
async def test_an_honest_change_is_held_only_where_it_should_be(entry: corpus.Change) -> None:
    assert bool(await held(of_corpus(entry))) is (entry.held and entry.name not in BY_RUNS)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (LayerName.TOOLS, "pytest.ini deselects"),
        (LayerName.PROTECTED, "the failing test weakened"),
        (LayerName.SCAN, "os._exit at import"),
    ],
)
async def test_without_a_layer_an_attempt_is_not_held(layer: LayerName, name: str) -> None:
    made = of_corpus(next(entry for entry in corpus.attempts() if entry.name == name))
    seen = (await inspect(define("tests", GateConfig(run=PYTEST)), made)).held
    assert {place.layer.partition(" ")[2] for place in seen} == {f"({layer})"}, "the place says which layer saw it"
    assert not await held(made, *(set(LayerName) - {layer}))


def test_layers_are_numbered_and_switched_by_name() -> None:
    assert sorted(layer.number for layer in LAYERS) == sorted({layer.number for layer in LAYERS})
    assert len({layer.name for layer in LAYERS}) == len(LAYERS)


@pytest.mark.parametrize(
    ("run", "toolchain"),
    [
        (["pytest"], Toolchain.PYTEST),
        (["/opt/venv/bin/py.test", "-q"], Toolchain.PYTEST),
        (["uv", "run", "pytest", "tests"], Toolchain.PYTEST),
        (["sh", "-c", "cd api && pytest -q"], Toolchain.PYTEST),
        (["pytest-watch"], Toolchain.OTHER),
        (["go", "test", "./..."], Toolchain.GO),
        (["cargo", "test"], Toolchain.OTHER),
    ],
)
def test_a_toolchain_is_known_by_the_command(run: list[str], toolchain: Toolchain) -> None:
    assert toolchain_of(define("tests", GateConfig(run=run))) is toolchain


TESTS = """import pytest
from calc import add


def test_add():
    assert add(1, 1) == 2


class TestSum:
    def test_one(self):
        pass
"""


@pytest.mark.parametrize(
    ("after", "free"),
    [
        (TESTS + "\n\ndef test_more():\n    assert add(2, 2) == 4\n", True),
        (TESTS.replace("import add", "import add, sub"), True),
        (TESTS + "    def test_two(self):\n        pass\n", True),
        (TESTS + "\n\n@pytest.mark.parametrize('a', [1])\ndef test_p(a):\n    pass\n", True),
        (TESTS + "\n\n@pytest.fixture\ndef basket():\n    return []\n", True),
        ("CASES = [1, 2]\n" + TESTS, True),
        ("# a comment\n" + TESTS, True),
        (TESTS.replace("== 2", "== 3"), False),
        (TESTS.replace("    assert add(1, 1) == 2\n", "    pass\n"), False),
        (TESTS + "\n\ndef test_add():\n    pass\n", False),
        (TESTS + "\n\ndef add(a, b):\n    return 2\n", False),
        (TESTS + "\n\n@pytest.fixture(autouse=True)\ndef quiet():\n    pytest.skip()\n", False),
        (TESTS + "\n\npytestmark = pytest.mark.skip\n", False),
        (TESTS + "\n\ndef setup_module():\n    pytest.skip()\n", False),
        (TESTS + "    def setup_method(self):\n        pytest.skip()\n", False),
        (TESTS + "\n\ndel test_add\n", False),
        (TESTS + "\n\nfrom evil import add\n", False),
        (TESTS + "\n\nfrom evil import *\n", False),
        (TESTS + "\n\n@evil\ndef test_more():\n    pass\n", False),
        (TESTS + "\n\nclass TestMore:\n    size = 2\n\n    def test_it(self):\n        pass\n", True),
        (TESTS + "\n\n@dataclass\nclass Row:\n    name: str\n    size: int = 1\n", True),
        (TESTS + "\n\n@pytest.mark.parametrize('a', [date(2020, 1, 1)])\ndef test_p(a):\n    pass\n", True),
        (TESTS + "\n\nclass TestMore:\n    evil()\n", False),
        (TESTS + "\n\nclass TestMore:\n    import evil\n", False),
        (TESTS + "\n\nclass TestMore:\n    class Inner:\n        x: evil() = 1\n", False),
        (TESTS + "\n\nclass TestMore(evil()):\n    pass\n", False),
        (TESTS + "\n\nclass TestMore(metaclass=evil):\n    pass\n", False),
        (TESTS + "\n\ndef test_more(a=evil()):\n    pass\n", False),
        (TESTS + "\n\ndef test_more(a: evil()):\n    pass\n", False),
        (TESTS + "\n\ndef test_more() -> [x for x in evil]:\n    pass\n", False),
        (TESTS + "\n\n@pytest.fixture(**{'auto' + 'use': True})\ndef quiet():\n    pytest.skip()\n", False),
        ("", False),
        ("def broken(:\n", False),
    ],
)
def test_adding_tests_to_a_file_is_free(after: str, free: bool) -> None:
    assert only_adds_tests(TESTS.encode(), after.encode()) is free


@pytest.mark.parametrize(
    ("path", "is_held"),
    [
        ("json.py", True),
        ("src/random.py", True),
        ("tests/calc.py", True),
        ("calc/__init__.py", True),
        ("calc.cpython-311-x86_64-linux-gnu.so", True),
        ("plain.py", True),
        ("pluggy/__init__.py", True),
        ("hidden.pth", True),
        ("a/__pycache__/b.cpython-311.pyc", True),
        ("x.egg-info/entry_points.txt", True),
        ("shop/json.py", False),
        ("billing.py", False),
        ("calc_more.py", False),
        ("tests/helpers.py", False),
        ("tests/test_json.py", False),
        ("test/__init__.py", False),
    ],
)
async def test_a_new_module_that_stands_in_for_another_is_held(path: str, is_held: bool) -> None:
    before: Files = {"calc.py": "x = 1\n", "plain/part.py": "", "shop/__init__.py": "", "tests/test_calc.py": ""}
    assert bool(await held(change(before, before | {path: "x = 1\n"}), LayerName.TOOLS)) is is_held


@pytest.mark.parametrize(
    ("path", "before", "after", "is_held"),
    [
        ("pyproject.toml", "[project]\nname='a'\n", "[project]\nname='a'\ndependencies=['b']\n", False),
        ("pyproject.toml", "[tool.ruff]\nx=1\n", "[tool.ruff]\nx=2\n", False),
        (
            "pyproject.toml",
            "[tool.coverage.report]\nfail_under=90\n",
            "[tool.coverage.report]\nfail_under=1\n",
            True,
        ),
        ("pyproject.toml", "", "[project.entry-points.pytest11]\na='b'\n", True),
        ("pyproject.toml", "", "not toml", True),
        ("setup.cfg", "[metadata]\nname=a\n", "[metadata]\nname=b\n", False),
        ("setup.cfg", "", "[tool:pytest]\naddopts=-x\n", True),
        ("tox.ini", "", "[pytest]\naddopts=-x\n", True),
        ("package.json", '{"dependencies": {}}', '{"dependencies": {"a": "1"}}', False),
        ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "true"}}', True),
        ("tests/conftest.py", "", "x = 1\n", True),
        (".coveragerc", "", "[report]\nfail_under=0\n", True),
        ("packages/a/vitest.config.mts", "", "x", True),
        ("app/.cargo/config.toml", "", "[build]\nrunner='true'\n", True),
        (".config/nextest.toml", "", "[profile.default]\ndefault-filter='none()'\n", True),
        ("docs/nextest.txt", "", "x", False),
        (".rspec", "", "--dry-run\n", True),
        ("src/Directory.Build.props", "", "<Project/>", True),
        ("Tests/All.runsettings", "", "<RunSettings/>", True),
        ("pom.xml", "<a/>", "<b/>", False),
    ],
)
async def test_what_configures_the_tests_is_held(path: str, before: str, after: str, is_held: bool) -> None:
    assert bool(await held(change({path: before}, {path: after}), LayerName.TOOLS)) is is_held


async def test_what_the_command_reads_is_held() -> None:
    made = change({"Makefile": "test:\n\tpytest\n"}, {"Makefile": "test:\n\ttrue\n"})
    assert await held(made, run=["make", "test"])
    assert await held(made, run=["sh", "check.sh"]), "it could run anything"
    assert not await held(made, run=["python3", "-m", "pytest"])


@pytest.mark.parametrize(
    ("run", "path", "before", "after", "is_held"),
    [
        (["cargo", "nextest", "run"], "Cargo.toml", "[dependencies]\n", "[dependencies]\nserde='1'\n", False),
        (["cargo", "test"], "Cargo.toml", "[package]\nname='a'\n", "[package]\nname='a'\nautotests=false\n", True),
        (["cargo", "test"], "Cargo.toml", "[lib]\nname='a'\n", "[lib]\nname='a'\ntest=false\n", True),
        (["cargo", "test"], "crates/a/build.rs", "", "fn main() {}", True),
        (["go", "test", "./..."], "go.mod", "module a\n", "module a\nrequire b v1\n", False),
        (["go", "test", "./..."], "go.mod", "module a\n", "module a\nreplace (\n\tb => ./c\n)\n", True),
        (["go", "test", "./..."], "go.work", "", "go 1.22\n", True),
        (["ctest"], "CMakeLists.txt", "add_library(a a.c)\n", "add_library(a a.c b.c)\n", False),
        (["ctest"], "CMakeLists.txt", "add_test(NAME a\n COMMAND a)\n", "add_test(NAME a\n COMMAND true)\n", True),
        (["ctest"], "t/CMakeLists.txt", "", "set_tests_properties(a PROPERTIES\n DISABLED TRUE)\n", True),
        (["./gradlew", "test"], "app/build.gradle.kts", "a", "b", True),
        (["mvn", "-q", "verify"], "pom.xml", "<a/>", "<b/>", True),
        (["bundle", "exec", "rspec"], "Rakefile", "a", "b", True),
        (["vendor/bin/phpunit"], "composer.json", '{"require": {}}', '{"require": {"a/b": "1"}}', False),
        (
            ["composer", "test"],
            "composer.json",
            '{"scripts": {"test": "phpunit"}}',
            '{"scripts": {"test": "true"}}',
            True,
        ),
        (["dotnet", "test"], "src/App/App.csproj", "<a/>", "<b/>", True),
        (["swift", "test"], "Package.swift", "a", "b", True),
        (["npm", "test"], "Makefile", "a", "b", True),
        (["npx", "vitest", "run"], "tsconfig.json", "{}", '{"compilerOptions": {"paths": {}}}', True),
        (["python3", "-m", "pytest"], "build.gradle", "a", "b", False),
        (["./check.sh"], "build.gradle", "a", "b", True),
    ],
)
async def test_a_gates_own_tools_say_what_configures_it(
    run: list[str], path: str, before: str, after: str, is_held: bool
) -> None:
    made = change({path: before} if before else {}, {path: after})
    assert bool(await held(made, LayerName.TOOLS, run=run)) is is_held


async def test_a_configuration_file_that_is_too_large_to_read_is_held() -> None:
    made = change({"package.json": "{}"}, {"package.json": '{"a": 1}'})
    assert not await held(made, LayerName.TOOLS)
    assert await held(replace(made, new={}), LayerName.TOOLS)
