"""What ``airboss init`` proposes for each ecosystem, on tiny trees, and that the proposal is a valid file."""

from __future__ import annotations

import pytest

from bot.init.detect import Proposal, ecosystems, propose
from bot.init.render import render
from fleet.config import parse_repo_file
from gates.layers.configuration import applying, runners

GRADLE = 'sh -c exec gradle --gradle-user-home "$HOME/.gradle" --no-daemon test'
MAVEN = 'sh -c exec mvn -Dmaven.repo.local="$HOME/.m2/repository" --batch-mode --no-transfer-progress verify'
PYTEST = "python3 -m pytest -q --junitxml={junit}"

#: Files, the gates as NAME: COMMAND, what the setups provide, and words of what is missing.
CASES: list[tuple[str, dict[str, str], dict[str, str], list[str], str]] = [
    ("uv", {"uv.lock": 'name = "pytest"', "pyproject.toml": ""}, {"tests": PYTEST}, [".venv"], ""),
    (
        "uv",
        {"uv.lock": "", "pyproject.toml": "", "tests/test_a.py": "import unittest"},
        {"tests": "python3 -m unittest discover"},
        [".venv"],
        "only the exit status counts",
    ),
    ("poetry", {"poetry.lock": "", "pyproject.toml": ""}, {"tests": PYTEST}, [".venv"], ""),
    ("pip", {"requirements.txt": "flask\n", "tests/test_a.py": ""}, {"tests": PYTEST}, [".venv"], ""),
    (
        "pip",
        {"tests/test_a.py": "import pytest"},
        {"tests": PYTEST},
        [],
        "add pytest to a requirements-dev.txt",
    ),
    ("pip", {"pyproject.toml": "", "test_a.py": ""}, {"tests": PYTEST}, [".venv"], "add pytest to"),
    (
        "pip",
        {"setup.py": "", "tests/test_a.py": "import unittest"},
        {"tests": "python3 -m unittest discover"},
        [],
        "only the exit status counts",
    ),
    (
        "npm",
        {"package.json": '{"scripts": {"test": "node --test"}}'},
        {
            "tests": "node --test --test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit "
            "--test-reporter-destination={junit}"
        },
        [],
        "",
    ),
    (
        "npm",
        {"package.json": '{"devDependencies": {"jest": "30"}}', "package-lock.json": '"node_modules/jest"'},
        {"tests": "npx --no -- jest --ci"},
        ["node_modules"],
        "add jest-junit",
    ),
    (
        "npm",
        {"package.json": '{"devDependencies": {"mocha": "11"}, "scripts": {"test": "mocha"}}'},
        {"tests": "npx --no -- mocha --reporter xunit --reporter-option output={junit}"},
        [],
        "package-lock.json is missing",
    ),
    ("npm", {"package.json": '{"scripts": {"test": "echo no && exit 1"}}'}, {}, [], "no `test` script"),
    (
        "pnpm",
        {"package.json": '{"devDependencies": {"vitest": "4"}}', "pnpm-lock.yaml": ""},
        {"tests": "pnpm exec vitest run --reporter=default --reporter=junit --outputFile.junit={junit}"},
        ["node_modules"],
        "",
    ),
    (
        "yarn",
        {"package.json": '{"scripts": {"test": "tap"}}', "yarn.lock": "", ".yarnrc.yml": ""},
        {"tests": "yarn test"},
        ["node_modules"],
        "no JUnit report",
    ),
    (
        "bun",
        {"package.json": "{}", "bun.lock": ""},
        {"tests": "bun test --reporter=junit --reporter-outfile={junit}"},
        ["node_modules"],
        "",
    ),
    (
        "cargo",
        {"Cargo.toml": "", "Cargo.lock": 'source = "registry"', "crates/a/Cargo.toml": ""},
        {"tests": "cargo test --locked --offline --workspace"},
        [".cargo-home"],
        "",
    ),
    ("cargo", {"Cargo.toml": ""}, {"tests": "cargo test --workspace"}, [], "Cargo.lock is missing"),
    ("go", {"go.mod": "", "a_test.go": ""}, {"tests": "go test ./..."}, [], "gotestsum"),
    (
        "gradle",
        {"build.gradle.kts": "", "gradlew": ""},
        {"tests": 'sh -c exec sh ./gradlew --gradle-user-home "$HOME/.gradle" --no-daemon test'},
        [],
        "the network",
    ),
    (
        "gradle",
        {"build.gradle": ""},
        {"tests": 'sh -c exec gradle --gradle-user-home "$HOME/.gradle" --no-daemon test'},
        [],
        "no gradlew",
    ),
    ("maven", {"pom.xml": ""}, {"tests": MAVEN}, [], "the network"),
    (
        "bundler",
        {"Gemfile": "gem 'rspec'\ngem 'rspec_junit_formatter'", "Gemfile.lock": ""},
        {"tests": "bundle exec rspec --format progress --format RspecJunitFormatter --out {junit}"},
        ["vendor/bundle"],
        "",
    ),
    ("bundler", {"Gemfile": "", "Rakefile": ""}, {"tests": "bundle exec rake test"}, [], "Gemfile.lock is missing"),
    (
        "composer",
        {"composer.json": '{"require-dev": {"phpunit/phpunit": "12"}}', "composer.lock": ""},
        {"tests": "php vendor/bin/phpunit --log-junit {junit}"},
        ["vendor"],
        "",
    ),
    ("dotnet", {"App.sln": "", "App/App.csproj": ""}, {"tests": "dotnet test"}, [], "JunitXml.TestLogger"),
    (
        "dotnet",
        {"App.sln": "", "T/T.csproj": "JunitXml.TestLogger"},
        {"tests": "dotnet test --logger junit;LogFilePath={junit}"},
        [],
        "",
    ),
    ("swift", {"Package.swift": ""}, {"tests": "swift test --parallel --xunit-output {junit}"}, [], ""),
    ("make", {"Makefile": "all:\n\ntest: all\n\ttrue\n"}, {"tests": "make test"}, [], "only the exit status"),
    ("make", {"Makefile": "all:\n"}, {}, [], ""),
]


def of(files: dict[str, str]) -> Proposal:
    return propose(files, files.__getitem__)


@pytest.mark.parametrize(("name", "tree", "gates", "provides", "missing"), CASES, ids=lambda value: str(value)[:24])
def test_each_ecosystem(
    name: str, tree: dict[str, str], gates: dict[str, str], provides: list[str], missing: str
) -> None:
    found = of(tree)
    assert {gate.name: " ".join(gate.command) for gate in found.gates} == gates
    assert [place for setup in found.setups for place in setup.provides] == provides
    assert all(gate.ecosystem == name for gate in (*found.gates, *found.setups))
    assert missing in "\n".join(found.missing)
    assert bool(found.missing) is bool(missing)
    read = parse_repo_file(render(found).encode(), "airboss.toml")
    assert {gate: " ".join(each.run or ()) for gate, each in read.gates.items()} == gates
    assert sorted(read.setup) == sorted(setup.name for setup in found.setups)


def test_every_ecosystem_of_the_table_is_tried() -> None:
    tried = {name for name, *_ in CASES} | {"cmake"}
    assert {str(each["name"]) for each in ecosystems()} == tried


def test_a_repository_of_several_ecosystems_gets_several_gates() -> None:
    found = of(
        {
            "Makefile": "test:\n\ttrue\n",
            "api/pyproject.toml": "[build-system]\n",
            "api/tests/test_a.py": "",
            "api/tools/pyproject.toml": "",
            "web app/package.json": '{"scripts": {"test": "vite-node"}}',
            "web app/package-lock.json": '"node_modules/a"',
            "web app/packages/x/package.json": '{"scripts": {"test": "x"}}',
            "core/CMakeLists.txt": "enable_testing()",
            "svc/a/go.mod": "",
            "svc/a/go.sum": "",
            "svc/a/inner/go.mod": "",
            "node_modules/x/package.json": "",
            "core/third_party/z/Cargo.toml": "",
            "core/tests/fixtures/p/package.json": '{"scripts": {"test": "x"}}',
        }
    )
    assert {gate.name: gate.directory for gate in found.gates} == {
        "make": "",
        "api": "api",
        "web-app": "web app",
        "core": "core",
        "svc-a": "svc/a",
        "svc-a-inner": "svc/a/inner",
    }
    commands = {gate.name: gate.command for gate in found.gates}
    assert commands["api"] == (
        "sh",
        "-c",
        f"cd api && exec {PYTEST.replace('--junitxml', chr(39) + '--junitxml')}'",
    )
    assert commands["web-app"] == ("sh", "-c", "cd 'web app' && exec npm test")
    assert commands["svc-a"][2].startswith('cd svc/a && GOMODCACHE="$PWD/.gomodcache"')
    setups = {setup.name: setup for setup in found.setups}
    assert setups["web-app-npm"].inputs == (
        "/web app/package-lock.json",
        "/web app/package.json",
        "/web app/.npmrc",
    )
    assert setups["web-app-npm"].provides == ("web app/node_modules",)
    parse_repo_file(render(found).encode(), "airboss.toml")


@pytest.mark.parametrize("files", [{}, {"README.md": "x"}, {"docs/Makefile": "test:\n"}])
def test_what_is_not_recognised_proposes_nothing(files: dict[str, str]) -> None:
    assert of(files).gates == ()


def test_a_proposed_gate_is_known_to_what_holds_configuration() -> None:
    """Otherwise a change to its build files would be held as if any program ran."""
    for _, tree, _, _, _ in CASES:
        for gate in of(tree).gates:
            known = applying(gate.command)
            others = any(runner.runs_others for runner in known)
            assert known != runners() or others, gate.command
