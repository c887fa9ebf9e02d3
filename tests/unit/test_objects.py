"""One git that answers for a repository: as fresh as a new one, whatever happens to it and to the repository."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.errors import Misused, Refused, Unavailable
from fleet.git import objects
from fleet.git.changes import ChangedPath
from fleet.git.command import Git
from fleet.git.objects import ObjectFound, ObjectKind, ObjectReader
from fleet.git.tree_walk import differences, entry_at, listing, survey
from tests.contracts.executor_logins import ends
from tests.far_end.repositories import advance, git, make_bare

BIG = 1 << 20


def answering(git_dir: Path) -> list[int]:
    """The processes that answer for a repository."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words, around = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"--batch-command" in words and f"GIT_DIR={git_dir}\0".encode() in around + b"\0":
            found.append(int(entry.name))
    return found


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "shop.git", {"a.txt": "one\n", "d/b.txt": "two\n"})


@pytest.fixture
def reader(bare: Path) -> Iterator[ObjectReader]:
    yield objects.reader(Git(), bare)


async def tip(reader: ObjectReader) -> str:
    found = await reader.find("refs/heads/main")
    assert found is not None and found.kind is ObjectKind.COMMIT
    return found.id


async def test_what_was_fetched_repacked_moved_or_removed_meanwhile_is_seen_at_once(
    reader: ObjectReader, bare: Path
) -> None:
    first = await tip(reader)
    (one,) = answering(bare)
    second = advance(bare, {"a.txt": "three\n"})
    assert await tip(reader) == second == git(bare, "rev-parse", "main")
    git(bare, "repack", "-adq")
    git(bare, "pack-refs", "--all")
    git(bare, "prune-packed")
    assert await tip(reader) == second and len(await reader.known([first, second, "0" * 40])) == 2
    assert (await reader.read([first], BIG))[first].kind is ObjectKind.COMMIT
    git(bare, "update-ref", "refs/heads/other", first)
    assert await reader.find("refs/heads/other") is not None
    git(bare, "update-ref", "-d", "refs/heads/other")
    assert await reader.find("refs/heads/other") is None
    assert answering(bare) == [one], "all that without another process"


async def test_a_repository_made_anew_at_its_place_has_nothing_of_the_old_one(
    reader: ObjectReader, bare: Path
) -> None:
    first = await tip(reader)
    blob = git(bare, "rev-parse", "main:a.txt")
    assert (await reader.read([blob], BIG))[blob].data == b"one\n"
    shutil.rmtree(bare)
    with pytest.raises(Unavailable, match="not a git repository"):
        await reader.find("refs/heads/main")
    shutil.rmtree(bare.with_suffix(".work"))
    make_bare(bare, {"a.txt": "of another history\n"})
    assert await tip(reader) != first
    assert await reader.known([first]) == [] and await reader.read([blob], BIG) == {}


async def test_a_repository_that_is_configured_anew_gets_a_new_process(reader: ObjectReader, bare: Path) -> None:
    await tip(reader)
    (one,) = answering(bare)
    git(bare, "config", "core.bigFileThreshold", "1m")
    await tip(reader)
    await ends(one)


async def test_a_process_that_was_killed_is_replaced_and_one_that_does_not_answer_ends_with_its_question(
    reader: ObjectReader, bare: Path
) -> None:
    first = await tip(reader)
    (one,) = answering(bare)
    os.kill(one, signal.SIGKILL)
    assert await tip(reader) == await tip(reader) == first
    (two,) = answering(bare)
    assert two != one
    os.kill(two, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await tip(reader)
    assert await tip(reader) == first, "the late answer is not taken for this one"
    await ends(two)


async def test_an_object_that_cannot_be_read_is_an_error_and_the_others_can(
    reader: ObjectReader, bare: Path
) -> None:
    bad = git(bare, "hash-object", "-w", "--stdin", stdin=b"x" * 100)
    path = bare / "objects" / bad[:2] / bad[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-8])
    good = git(bare, "rev-parse", "main:a.txt")
    with pytest.raises(Unavailable, match=bad):
        await reader.read([good, bad], BIG)
    assert (await reader.read([good], BIG))[good].data == b"one\n"


async def test_questions_at_once_get_their_own_answers_however_large(reader: ObjectReader, bare: Path) -> None:
    texts = [bytes([65 + number]) * (300_000 * number) + b"\n\0" for number in range(6)]
    ids = [git(bare, "hash-object", "-w", "--stdin", stdin=text) for text in texts]
    answers = await asyncio.gather(*(reader.read([each], 4 * BIG) for each in ids for _ in range(2)))
    assert [answer[each].data for answer, each in zip(answers[::2], ids, strict=True)] == texts
    together = await reader.read([*ids, "f" * 40], 4 * BIG)
    assert [together[each].data for each in ids] == texts
    assert list(await reader.read(ids, 700_000)) == ids[:3], "what is bigger is left out"


@pytest.mark.parametrize("name", ["", "a b", "HEAD\nHEAD", "main\0", "x" * 500, "h\u2028é"])
async def test_no_name_can_be_taken_for_another_question(reader: ObjectReader, name: str) -> None:
    with pytest.raises(Misused):
        await reader.find(name)


@pytest.mark.parametrize("name", ["-", "--batch-all-objects", "HEAD:", "@{-1}", ":/x", "HEAD^{/first}", "%s", "^"])
async def test_a_strange_name_names_nothing_or_an_object_and_the_next_answer_is_right(
    reader: ObjectReader, name: str, bare: Path
) -> None:
    found = await reader.find(name)
    assert found is None or isinstance(found, ObjectFound)
    assert await tip(reader) == git(bare, "rev-parse", "main")


async def test_replace_refs_and_the_settings_of_a_person_do_not_count(
    reader: ObjectReader, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = git(bare, "rev-parse", "main")
    second = advance(bare, {"a.txt": "three\n"})
    git(bare, "replace", second, first)
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/nonexistent")
    assert (await reader.read([second], BIG))[second].data.startswith(b"tree " + tree_of(bare, second).encode())


def tree_of(bare: Path, commit: str) -> str:
    return git(bare, "--no-replace-objects", "rev-parse", f"{commit}^{{tree}}")


def test_it_ends_with_its_event_loop_and_the_next_loop_has_its_own(bare: Path) -> None:
    ours = Git()
    for _ in range(2):
        asyncio.run(tip(objects.reader(ours, bare)))
        assert answering(bare) == []


async def test_it_is_forgotten_with_the_git_that_asked(bare: Path) -> None:
    ours = Git()
    known = weakref.ref(objects.reader(ours, bare))
    await tip(objects.reader(ours, bare))
    assert known() is objects.reader(ours, bare)
    del ours
    gc.collect()
    assert known() is None


def test_it_dies_with_the_controller(bare: Path) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from fleet.git import objects\nfrom fleet.git.command import Git\n"
        "async def main():\n"
        " git = Git(); await objects.reader(git, Path(sys.argv[1])).find('HEAD'); print('asked', flush=True)\n"
        " await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(bare)], stdout=subprocess.PIPE) as controller:
        assert controller.stdout is not None and controller.stdout.readline() == b"asked\n"
        (one,) = answering(bare)
        gone = os.pidfd_open(one)
        controller.kill()
        controller.wait()
        os.set_blocking(gone, True)
        assert _ended(gone)


def _ended(process: int) -> bool:
    import select

    ready, _, _ = select.select([process], [], [], 30)
    return bool(ready)


# --- trees, against git itself --------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "a.b", "a0", "b", "ä", "x y", "a\nb", ".gitattributes", "z-", "z"])
CONTENT = st.sampled_from(["100644 one", "100755 one", "120000 one", "100644 two", "160000 " + "1" * 40])
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), CONTENT, max_size=8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trees") / "store.git"
    path.mkdir()
    git(path, "init", "--quiet", "--bare")
    return path


def made(store: Path, paths: dict[str, str]) -> str:
    """A tree with these paths; of a file and a directory of one name, the directory."""
    lines = []
    for path, content in paths.items():
        if any(other.startswith(f"{path}/") for other in paths):
            continue
        mode, _, text = content.partition(" ")
        oid = text if mode == "160000" else git(store, "hash-object", "-w", "--stdin", stdin=text.encode())
        lines.append(f"{mode} {oid}\t{path}\0")
    (store / "index").unlink(missing_ok=True)
    git(store, "update-index", "-z", "--index-info", stdin="".join(lines).encode())
    return git(store, "write-tree", "--missing-ok")


@settings(max_examples=25)
@given(old=TREES, new=TREES)
def test_trees_are_listed_and_compared_as_git_does(store: Path, old: dict[str, str], new: dict[str, str]) -> None:
    before, after = made(store, old), made(store, new)
    shown = git(store, "diff-tree", "-r", "-z", "--no-renames", "--name-status", before, after).split("\0")
    rows = git(store, "ls-tree", "-r", "-z", "--full-tree", after).split("\0")[:-1]

    async def look() -> None:
        reader = objects.reader(Git(), store)
        found = await differences(reader, before, after)
        assert found == [ChangedPath(*pair) for pair in zip(shown[0::2], shown[1::2], strict=False)]
        paths = await listing(reader, after)
        assert [f"{entry.mode} {entry.id}\t{path}" for path, entry in paths.items()] == [
            f"{about.split()[0]} {about.split()[2]}\t{path}"
            for about, _, path in (row.partition("\t") for row in rows)
        ]
        for path, entry in paths.items():
            assert await entry_at(reader, after, path) == entry
            assert await entry_at(reader, after, f"{path}/x") is None
        seen = await survey(reader, after)
        assert list(seen.submodules) == [path for path, entry in paths.items() if entry.mode == "160000"]
        assert all(path.endswith(".gitattributes") for path in seen.attributes)

    asyncio.run(look())


@pytest.mark.parametrize(
    ("name", "width", "depth", "why"),
    [("d", 130, 3, "too many paths"), ("d" * 200, 1, 21, "a path of more")],
    ids=["many", "long"],
)
async def test_a_few_small_trees_that_stand_for_millions_of_paths_are_refused(
    store: Path, name: str, width: int, depth: int, why: str
) -> None:
    """Whoever may push a branch could end the controller with them. Here they have no file at all."""
    inner = nothing = made(store, {})
    for _ in range(depth):
        names = sorted(f"{name}{number}".encode() for number in range(width))
        inner = put(store, b"".join(b"40000 " + each + b"\0" + bytes.fromhex(inner) for each in names))
    reader = objects.reader(Git(), store)
    for look in (listing(reader, inner), differences(reader, nothing, inner)):
        with pytest.raises(Refused, match=why):
            await look


async def test_a_mode_of_an_old_git_is_read_as_git_reads_it(store: Path) -> None:
    blob = git(store, "hash-object", "-w", "--stdin", stdin=b"one")
    old, new = (put(store, mode + b" a\0" + bytes.fromhex(blob)) for mode in (b"100664", b"100644"))
    reader = objects.reader(Git(), store)
    assert git(store, "diff-tree", old, new) == "" and await differences(reader, old, new) == []
    assert [entry.mode for entry in (await listing(reader, old)).values()] == ["100644"]


def put(store: Path, tree: bytes) -> str:
    """A tree of these bytes, as a loose object."""
    data = b"tree %d\0" % len(tree) + tree
    name = hashlib.sha1(data).hexdigest()
    (store / "objects" / name[:2]).mkdir(exist_ok=True)
    (store / "objects" / name[:2] / name[2:]).write_bytes(zlib.compress(data))
    return name
