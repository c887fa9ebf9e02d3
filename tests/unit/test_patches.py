"""What git's patches say: the paths of files, and how many lines changed."""

from __future__ import annotations

from pathlib import Path

from fleet.git.patches import FileChanged, Patch, files_changed
from tests.far_end.repositories import git, make_work

OLD = "-- a comment of SQL\n---\nselect 1;\n"
NEW = "select 1;\n++i;\nform\x0c+feed\u2028-\n"


def test_each_file_has_its_own_name_and_every_line_counts(tmp_path: Path) -> None:
    """A removed comment of SQL looks like the head of a file; odd names are in quotes."""
    names = ("a b/c", "x b/y b/z", 'quo"te', "tab\tname", "größe", "plain")
    work = make_work(tmp_path / "w", dict.fromkeys(names, OLD))
    for name in names:
        (work / name).write_text(NEW)
    assert files_changed(Patch(git(work, "diff", "--no-color"))) == dict.fromkeys(names, FileChanged(2, 2))
    git(work, "add", "--all")
    git(work, "mv", "plain", "moved and changed")
    assert "moved and changed" in files_changed(Patch(git(work, "diff", "--cached")))


def test_a_change_without_lines_says_what_became_of_each_file(tmp_path: Path) -> None:
    four = "a\nb\nc\nd\n"
    old: dict[str, str | bytes] = {"run": "1\n", "name": four, "picture": b"\0\1", "gone": "x\n", "size ü": four}
    work = make_work(tmp_path / "w", {**old, "ends": four})
    (work / "run").chmod(0o755)
    (work / "picture").write_bytes(b"\0\2")
    (work / "gone").unlink()
    (work / "empty").touch()
    (work / "link").symlink_to("run")
    (work / "ends").write_bytes(four.replace("\n", "\r\n").encode())
    git(work, "mv", "name", "other")
    git(work, "mv", "size ü", "size")
    (work / "size").write_text(f"{four}e\n")
    git(work, "add", "--all")
    assert files_changed(Patch(git(work, "diff", "--cached", "-M"))) == {
        "run": FileChanged(0, 0, ("executable now",)),
        "other": FileChanged(0, 0, ("was name",)),
        "picture": FileChanged(0, 0, ("binary",)),
        "gone": FileChanged(0, 1, ("deleted",)),
        "empty": FileChanged(0, 0, ("new",)),
        "link": FileChanged(1, 0, ("new link",)),
        "size": FileChanged(1, 0, ("was size ü",)),
        "ends": FileChanged(4, 4, ("only line ends",)),
    }


def test_a_line_that_moved_is_no_line_end_and_what_is_cut_is_not_judged(tmp_path: Path) -> None:
    old = "".join(f"line {number}\n" for number in range(30))
    moved = old.replace("line 3\n", "").replace("line 25\n", "line 25\nline 3\n")
    near = old.replace("line 3\nline 4\n", "line 4\nline 3\n")
    work = make_work(tmp_path / "w", {"ends": old, "far": old, "near": old})
    (work / "far").write_text(moved)
    (work / "near").write_bytes(near.replace("\n", "\r\n").encode())
    (work / "ends").write_bytes(old.replace("line 3\n", "line 3\r\n").encode())
    patch = Patch(git(work, "diff"))
    assert files_changed(patch) == {
        "ends": FileChanged(1, 1, ("only line ends",)),
        "far": FileChanged(1, 1),
        "near": FileChanged(30, 30),
    }
    start = Patch(git(work, "diff", "ends"), cut=True)
    assert files_changed(start) == {"ends": FileChanged(1, 1, ("and more that is not counted",))}
