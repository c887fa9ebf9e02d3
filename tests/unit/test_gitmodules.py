"""What ``.gitmodules`` may say: paths, names and addresses, and what a relative address is relative to."""

from __future__ import annotations

import pytest

from fleet.git.gitmodules import Above, Named, Unusable, path_problem, read, resolved

REMOTE = Above("https://example.com/org/app.git", local=False)


@pytest.mark.parametrize(
    ("above", "url", "found"),
    [
        ("https://example.com/org/app.git", "../lib.git", "https://example.com/org/lib.git"),
        ("https://example.com/org/app.git/", "../../other/lib", "https://example.com/other/lib"),
        ("https://user:key@example.com/org/app", "../lib", "https://user:key@example.com/org/lib"),
        ("ssh://git@example.com:2222/app.git", "../lib.git", "ssh://git@example.com:2222/lib.git"),
        ("git@example.com:org/app.git", "../lib.git", "git@example.com:org/lib.git"),
        ("git@example.com:app.git", "../lib.git", "git@example.com:lib.git"),
        ("git@example.com:/srv/app.git", "../lib.git", "git@example.com:/srv/lib.git"),
        ("git@example.com:app.git", "./lib.git", "git@example.com:app.git/lib.git"),
        ("https://example.com/app", "ssh://git@other.example/lib", "ssh://git@other.example/lib"),
    ],
)
def test_an_address_is_what_git_makes_of_it(above: str, url: str, found: str) -> None:
    assert resolved(Named("x", url), Above(above, local=False)) == found


def test_a_path_is_one_only_beside_another_path() -> None:
    local = Above("/srv/git/app.git", local=True)
    assert resolved(Named("x", "../lib.git"), local) == "/srv/git/lib.git"
    assert (
        resolved(Named("x", "../lib.git"), Above("file:///srv/git/app.git", local=True))
        == "file:///srv/git/lib.git"
    )
    assert resolved(Named("x", "/srv/lib.git"), local) == "/srv/lib.git"
    for url in ("/srv/lib.git", "file:///srv/lib.git", "FILE:///srv/lib.git"):
        with pytest.raises(Unusable):
            resolved(Named("x", url), REMOTE)
    for url in ("~/lib.git", "~root/lib.git"):  # whose home that is depends on who asks
        with pytest.raises(Unusable):
            resolved(Named("x", url), local)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "-u.",
            "--upload-pack=evil",
            "ext::sh -c evil",
            "fd::7",
            "http://example.com/x",
            "git://example.com/x",
        ),
        *(
            "https://-oProxyCommand=evil/x",
            "ssh://-oProxyCommand=evil/x",
            "-oProxyCommand=evil:x",
            "~/x",
            "~root/x",
        ),
        *("https://example.com/a\nb", "https://example.com/a%0ab", "https://example.com/a%00b", "x\r", "%2d-evil"),
        *("../../..", "../../../../etc", "../..", "lib.git", "https://", "ssh:///x", "ftp://example.com/x"),
        *("https://example.com/" + "a" * 3000, "\x1b[31mhttps://example.com", "https://example.com/\u2028"),
    ],
)
def test_what_no_git_is_asked_for(url: str) -> None:
    with pytest.raises(Unusable):
        resolved(Named("x", url), REMOTE)


@pytest.mark.parametrize("name", ["..", "../x", "a/../../hooks", "..\\x", "/etc"])
def test_names_that_lead_somewhere(name: str) -> None:
    with pytest.raises(Unusable, match="name"):
        resolved(Named(name, "../lib.git"), REMOTE)


@pytest.mark.parametrize(
    "path", [".git", "a/.GIT/hooks", "a/git~1", "../x", "a/../b", "-x", "a\rb", ".g\u200cit", "a\x1b"]
)
def test_paths_where_nothing_may_be(path: str) -> None:
    assert path_problem(path)
    assert not path_problem("a/b c/ü")


def test_each_path_has_one_answer() -> None:
    assert read(b"submodule.a.b.path\nx\0submodule.a.b.url\n../y\0submodule.a.b.branch\nz\0") == {
        "x": Named("a.b", "../y")
    }
    assert read(b"core.hookspath\nevil\0submodule.path\nx\0") == {}
    for listed in (
        b"submodule.a.path\nx\0submodule.b.path\nx\0",
        b"submodule.a.url\nx\0submodule.a.url\ny\0",
        b"submodule.a.path\nx\0submodule.a.path\ny\0",
    ):
        with pytest.raises(Unusable):
            read(listed)
