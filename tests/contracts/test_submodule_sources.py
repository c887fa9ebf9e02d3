"""Where submodules come from: what cannot be had, and what nobody is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import AirbossError, OriginAway, Refused
from fleet.git import submodule_mirrors, submodules
from fleet.git.repository import Repository
from fleet.git.submodule_mirrors import SubmoduleSource
from tests.contracts.nested import Nest, gitmodules, nest_in, record
from tests.far_end.repositories import git


@pytest.fixture(name="nest")
def own_nest(tmp_path: Path) -> Nest:
    return nest_in(tmp_path / "nest")


async def test_a_commit_that_nobody_has_is_refused_with_its_name_and_address(nest: Nest) -> None:
    record(nest.bare, {}, vendor__lib="1" * 40)
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    with pytest.raises(Refused, match=rf"'vendor/lib' is recorded at {'1' * 40}, which .*/lib.git does not have"):
        await submodules.bring(repository, await repository.fetch())


async def test_a_repository_that_is_away_may_come_back(nest: Nest) -> None:
    away = (nest.folder / "lib.git").rename(nest.folder / "away.git")
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    base = await repository.fetch()
    with pytest.raises(OriginAway, match=rf"{nest.lib} could not be fetched from .*/lib.git"):
        await submodules.bring(repository, base)
    away.rename(nest.folder / "lib.git")
    assert len(await submodules.bring(repository, base)) == 2


async def test_a_server_that_gives_no_commit_by_its_id_gives_all_that_it_names(nest: Nest) -> None:
    """As all do by the older protocol, unless they are told otherwise."""
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    base = await repository.fetch()
    away = (nest.folder / "lib.git").rename(nest.folder / "away.git")
    with pytest.raises(OriginAway):
        await submodules.bring(repository, base)
    away.rename(nest.folder / "lib.git")
    (mirror,) = (repository.mirror / "submodules").iterdir()
    git(mirror, "config", "protocol.version", "0")
    nest.advance_lib({"lib.c": "int newer;\n"})  # so that no branch is at the recorded one
    assert len(await submodules.bring(repository, base)) == 2


async def test_a_fetch_that_was_killed_is_made_again(nest: Nest) -> None:
    """It left its locks and half a pack."""
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    base = await repository.fetch()
    (nest.folder / "lib.git").rename(nest.folder / "away.git")
    with pytest.raises(OriginAway):
        await submodules.bring(repository, base)
    (nest.folder / "away.git").rename(nest.folder / "lib.git")
    (mirror,) = (repository.mirror / "submodules").iterdir()
    (mirror / "shallow.lock").write_text("")
    (mirror / "objects/pack/tmp_pack_x").write_text("half")
    assert len(await submodules.bring(repository, base)) == 2


async def test_a_repository_in_itself_ends(nest: Nest) -> None:
    """Each commit of it records another one of it, deeper than anybody builds."""
    at = git(nest.folder / "deep.git", "rev-parse", "main")
    for _ in range(6):
        at = record(nest.folder / "deep.git", {".gitmodules": gitmodules(again="./../deep.git")}, again=at)
    record(nest.bare, {".gitmodules": gitmodules(vendor__lib="../deep.git")}, vendor__lib=at)
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    with pytest.raises(Refused, match=r"'vendor/lib(/again)+' cannot be used: it is too deep"):
        await submodules.bring(repository, await repository.fetch())


HOSTILE = [
    ("", "does not say where it comes from"),
    (gitmodules(vendor__lib="ext::sh -c evil"), "not usable: only https, ssh"),
    (gitmodules(vendor__lib="git://user:secret@example.com/lib.git"), r"'git://\*\*\*@example.com"),
    (gitmodules(vendor__lib='"https://example.com/\\nhost=evil"'), "not printable"),
    (gitmodules(vendor__lib="../lib.git") + '[submodule "two"]\n\tpath = vendor/lib\n', "two submodules at"),
    (gitmodules(vendor__lib="../lib.git").replace('"vendor/lib"', '"../../hooks"'), "name would lead out"),
    (gitmodules(vendor__lib="../lib.git") + gitmodules(vendor__lib="../evil.git"), "says two things"),
    ("[submodule", "git cannot read it"),
    ("[include]\n\tpath = /dev/null\n" + gitmodules(other="../lib.git"), "does not say"),
]


async def test_hostile_gitmodules_are_refused_in_words(nest: Nest) -> None:
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    await repository.fetch()
    mirror = repository.mirror

    def with_file(mode: str, text: str, path: str = "vendor/lib") -> str:
        """A commit's tree with this as its ``.gitmodules``."""
        blob = git(mirror, "hash-object", "-w", "--stdin", stdin=text.encode())
        inside = git(mirror, "mktree", "--missing", stdin=f"160000 commit {nest.lib}\t{path[7:]}\n".encode())
        rows = f"{mode} blob {blob}\t.gitmodules\n040000 tree {inside}\tvendor\n"
        return git(mirror, "mktree", stdin=rows.encode())

    good = gitmodules(vendor__lib="../lib.git")
    cases = [(with_file("100644", text), words) for text, words in HOSTILE]
    elsewhere = nest.folder / "elsewhere.config"
    elsewhere.write_text(good)
    cases.append((with_file("100644", f"[include]\n\tpath = {elsewhere}\n"), "does not say"))
    cases.append((with_file("120000", "a.txt"), "it is not a file"))
    cases.append((with_file("100644", good, "vendor/-x"), "does not say"))
    cases.append((with_file("100644", good, "vendor/git~1"), "read as .git"))
    for tree, words in cases:
        with pytest.raises(Refused, match=words) as refused:
            await submodules.bring(repository, tree)
        assert "secret" not in str(refused.value)
    assert not (mirror / "submodules").exists(), "nothing was asked"


async def test_a_path_of_this_machine_is_not_asked_for_a_remote_repository(nest: Nest) -> None:
    """A remote repository could otherwise have any of the controller's own repositories shown to its agents."""
    for url in (str(nest.folder / "lib.git"), f"file://{nest.folder}/lib.git"):
        record(nest.bare, {".gitmodules": gitmodules(vendor__lib=url)})
        here = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
        base = await here.fetch()
        remote = Repository("p", "ssh://example.com/p.git", "main", here.mirror)
        with pytest.raises(Refused, match="is a path of this machine"):
            await submodules.bring(remote, base)
        other = SubmoduleSource("vendor/lib", nest.advance_lib({"lib.c": url}), url, ())
        with pytest.raises(OriginAway, match="transport 'file' not allowed"):  # nor where a server leads there
            await submodule_mirrors.bring(remote, other)
        assert await submodules.bring(here, base)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://ada:hunter2@127.0.0.1:1/lib.git", "could not be fetched"),
        ("file://ada:hunter2@{0}", "does not have"),
    ],
)
async def test_a_password_in_an_address_is_in_no_message(nest: Nest, address: str, words: str) -> None:
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    await repository.fetch()
    source = SubmoduleSource("vendor/lib", "1" * 40, address.format(nest.folder / "lib.git"), ())
    with pytest.raises(AirbossError, match=words) as told:
        await submodule_mirrors.bring(repository, source)
    assert "hunter2" not in str(told.value)
