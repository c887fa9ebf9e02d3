"""A repository with a submodule, which has one more in it: where each is, and how somebody records others."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.machines.local import LocalExecutor
from tests.contracts.test_taking import Ground
from tests.contracts.test_workspace import Limits
from tests.far_end.repositories import advance, git, make_bare, models

LIB = {"lib.c": "int lib;\n", "include/lib.h": "extern int lib;\n", ".gitignore": "*.o\n"}
DEEP = {"deep.txt": "deep\n"}


def gitmodules(**urls: str) -> str:
    """The file, with a submodule at each path."""
    places = {name.replace("__", "/"): url for name, url in urls.items()}
    return "".join(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n' for path, url in places.items())


def record(bare: Path, files: dict[str, str | bytes], **links: str) -> str:
    """Somebody lands ``files``, and commits at paths, on ``main``; an empty commit removes what was at its path."""
    work, shared = bare.with_suffix(".work"), {"GIT_OBJECT_DIRECTORY": str(bare / "objects")}
    (work / ".git/objects/info/alternates").write_text(f"{bare / 'objects'}\n")
    before = git(bare, "rev-parse", "main")
    git(work, "reset", "--quiet", "--hard", before, env=shared)
    rows = (f"{160000 if at else 0} {at or '0' * 40}\t{name.replace('__', '/')}\n" for name, at in links.items())
    git(work, "update-index", "--index-info", stdin="".join(rows).encode(), env=shared)
    for name in links:
        (work / name.replace("__", "/")).mkdir(parents=True, exist_ok=True)  # an absent one would be a removed one
    for name, content in files.items():
        (work / name).write_bytes(content.encode() if isinstance(content, str) else content)
    if files:
        git(work, "add", "--", *files, env=shared)
    git(work, "commit", "--quiet", "--message", "submodules", env=shared)
    made = git(work, "rev-parse", "HEAD")
    git(bare, "update-ref", "refs/heads/main", made, before)
    return made


@dataclass
class Nest:
    """A repository with a library in it, which has one more in it."""

    folder: Path
    bare: Path
    lib: str
    deep: str

    def advance_lib(self, files: dict[str, str | bytes]) -> str:
        return advance(self.folder / "lib.git", files)


@cache
def _model() -> Nest:
    """One for each process: git takes thirty processes to make it."""
    folder = models() / "nest"
    deep = make_bare(folder / "deep.git", dict(DEEP))
    lib = make_bare(folder / "lib.git", dict(LIB))
    bare = make_bare(folder / "origin.git", {"a.txt": "1\n", "vendor-x": "sorts between\n"})
    at_deep = git(deep, "rev-parse", "main")
    at_lib = record(lib, {".gitmodules": gitmodules(deep="../deep.git")}, deep=at_deep)
    record(bare, {".gitmodules": gitmodules(vendor__lib="../lib.git")}, vendor__lib=at_lib)
    return Nest(folder, bare, at_lib, at_deep)


def nest_in(folder: Path) -> Nest:
    """A new one, in a folder that is not there yet."""
    model = _model()
    shutil.copytree(model.folder, folder, symlinks=True)
    for config in (*folder.glob("*.git/config"), *folder.glob("*.work/.git/config")):
        config.write_text(config.read_text().replace(str(model.folder), str(folder)))
    for borrowed in folder.glob("*.work/.git/objects/info/alternates"):
        borrowed.write_text(borrowed.read_text().replace(str(model.folder), str(folder)))
    return replace(model, folder=folder, bare=folder / "origin.git")


@asynccontextmanager
async def grounded(nest: Nest) -> AsyncIterator[Ground]:
    """An agent's worktree of it."""
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    machine = LocalExecutor("near", root=str(nest.folder / "agent"))
    base = await repository.fetch()
    work = Path(await Workspaces(Limits).prepare(machine, repository, base, "t1.1"))
    yield Ground(repository, machine, work, base)
    await machine.close()
