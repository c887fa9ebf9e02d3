"""What lock files name, and what is not understood."""

from __future__ import annotations

import json

import pytest

from gates.dependencies import added_places, packages

UV = b'version = 1\n[[package]]\nname = "shop"\nversion = "1.0"\n[[package]]\nname = "pad"\nversion = "2.5"\n'
NPM = (
    b'{"packages": {"": {}, "node_modules/@a/b": {"version": "1.0"},'
    b' "node_modules/x/node_modules/y": {"version": "2"}}}'
)
OLD_NPM = b'{"lockfileVersion": 1, "dependencies": {"pad": {"version": "1.2.3"}}}'
YARN = b'# yarn lockfile v1\n\n"@a/b@^1.0":\n  version "1.0.2"\n  resolved "x"\n\npad@^1, b@2:\n  version "1.3"\n'
BERRY = b'"pad@npm:^1.0":\n  version: 1.3\n  resolution: "x"\n'
PNPM = b"""packages:

  '@a/b@1.0.2':
    resolution: {}

  pad@1.3.0:
    resolution: {}

  /old@2.0.0:
    dev: true
"""
GO = b"""module example.com/shop

go 1.22

require github.com/a/b v1.2.3

require (
\tgolang.org/x/net v0.1.0 // indirect
)
"""
GEMS = b"GEM\n  remote: x\n  specs:\n    rake (13.0)\n    rails (7.1)\n      rake (>= 12)\n"
COMPOSER = b'{"packages": [{"name": "a/b", "version": "1.0"}], "packages-dev": [{"name": "c/d", "version": "2"}]}'
REQUIREMENTS = (
    b"# words\n-r other.txt\npad==1.0 \\\n    --hash=sha256:aa\nNot-Pinned>=2\n"
    b"extra[all]==3 ; python_version < '4'\n"
)


@pytest.mark.parametrize(
    ("path", "data", "found"),
    [
        ("uv.lock", UV, {"shop": "1.0", "pad": "2.5"}),
        ("api/poetry.lock", UV, {"shop": "1.0", "pad": "2.5"}),
        ("Cargo.lock", UV, {"shop": "1.0", "pad": "2.5"}),
        ("package-lock.json", NPM, {"@a/b": "1.0", "y": "2"}),
        ("package-lock.json", OLD_NPM, {"pad": "1.2.3"}),
        ("yarn.lock", YARN, {"@a/b": "1.0.2", "pad": "1.3"}),
        ("yarn.lock", BERRY, {"pad": "1.3"}),
        ("pnpm-lock.yaml", PNPM, {"@a/b": "1.0.2", "pad": "1.3.0", "old": "2.0.0"}),
        ("go.mod", GO, {"github.com/a/b": "v1.2.3", "golang.org/x/net": "v0.1.0"}),
        ("Gemfile.lock", GEMS, {"rake": "13.0", "rails": "7.1"}),
        ("composer.lock", COMPOSER, {"a/b": "1.0", "c/d": "2"}),
        ("requirements-dev.txt", REQUIREMENTS, {"pad": "1.0", "Not-Pinned": "", "extra": "3"}),
        ("setup.cfg", REQUIREMENTS, {}),
    ],
)
def test_packages_of_lock_files(path: str, data: bytes, found: dict[str, str]) -> None:
    assert packages(path, data) == found


@pytest.mark.parametrize("path", ["uv.lock", "package-lock.json", "composer.lock", "requirements.txt", "go.mod"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[", b"null", b"[]", b'{"packages": 1}', b"package = 3"])
def test_nonsense_is_not_understood(path: str, data: bytes) -> None:
    assert packages(path, data) in ({}, {"package": ""}, {"null": ""})


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("go.mod", b""),
        ("requirements.txt", b"a["),
        ("Gemfile.lock", b"    a (" * 100),
        ("pnpm-lock.yaml", b"  a@" + b"b" * 990),
        ("pnpm-lock.yaml", b"  a@" + b"b" * 1_000_000),
        ("yarn.lock", b'"a' * 400),
    ],
)
def test_a_file_that_is_made_to_be_slow_is_read_at_once(path: str, line: bytes) -> None:
    """With time in the square of its size each would take the controller minutes, in which it does nothing else."""
    assert len(packages(path, (line + b"\n") * max(1, 2_000_000 // (len(line) + 1)))) <= 1


def test_of_many_new_packages_the_first_are_named_and_the_others_counted() -> None:
    every = {f"node_modules/p{number}": {"version": "1"} for number in range(20_000)}
    found = added_places("package-lock.json", b"{}", json.dumps({"packages": every}, indent=1).encode())
    assert [(place.line, place.why) for place in found[:2]] == [
        (3, "new dependency: p0 1"),
        (6, "new dependency: p1 1"),
    ]
    assert (len(found), found[-1].why) == (11, "and 19990 more dependencies")


def test_a_package_whose_name_is_no_text_is_shown() -> None:
    data = b'{"packages": [{"name": 5, "version": 1}, {"name": null, "version": []}]}'
    assert [place.why for place in added_places("composer.lock", b"", data)] == [
        "new dependency: 5 1",
        "new dependency: None []",
    ]
