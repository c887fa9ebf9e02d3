"""What git's patches say: the paths of files, and how many lines changed."""

from __future__ import annotations

from pathlib import Path

from fleet.git.patches import lines_changed
from tests.far_end.repositories import git, make_work

OLD = "-- a comment of SQL\n---\nselect 1;\n"
NEW = "select 1;\n++i;\nform\x0c+feed\u2028-\n"


def test_each_file_has_its_own_name_and_every_line_counts(tmp_path: Path) -> None:
    """A removed comment of SQL looks like the head of a file; odd names are in quotes."""
    names = ("a b/c", "x b/y b/z", 'quo"te', "tab\tname", "größe", "plain")
    work = make_work(tmp_path / "w", dict.fromkeys(names, OLD))
    for name in names:
        (work / name).write_text(NEW)
    assert lines_changed(git(work, "diff", "--no-color")) == {name: [2, 2] for name in names}
    git(work, "add", "--all")
    git(work, "mv", "plain", "moved and changed")
    assert "moved and changed" in lines_changed(git(work, "diff", "--cached"))
