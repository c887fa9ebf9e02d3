"""Programs in a login's home: which directories are searched, and which node nvm means."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.machines.runner.own_places import own_places


@pytest.mark.parametrize(
    ("alias", "found"),
    [(None, "v20.10.0"), ("18\n", "v18.19.0"), ("v20.9.1", "v20.9.1"), ("lts/iron", "v20.10.0"), ("9", "v20.10.0")],
)
def test_the_node_of_nvm(tmp_path: Path, alias: str | None, found: str) -> None:
    for version in ("v18.19.0", "v20.9.1", "v20.10.0"):
        (tmp_path / ".nvm/versions/node" / version / "bin").mkdir(parents=True)
    if alias is not None:
        (tmp_path / ".nvm/alias").mkdir()
        (tmp_path / ".nvm/alias/default").write_text(alias)
    assert own_places(str(tmp_path))[0] == str(tmp_path / ".nvm/versions/node" / found / "bin")


def test_only_directories_that_exist(tmp_path: Path) -> None:
    elsewhere = own_places(str(tmp_path))
    (tmp_path / ".local/bin").mkdir(parents=True)
    (tmp_path / ".cargo").mkdir()
    (tmp_path / ".cargo/bin").write_text("a file")
    (tmp_path / ".nvm/versions/node").mkdir(parents=True)
    assert own_places(str(tmp_path)) == [str(tmp_path / ".local/bin"), *elsewhere]
