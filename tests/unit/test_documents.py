"""Documents: written before the transaction that needs them, whole, and by one writer."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from bot.telling import documents
from fleet.errors import DiskFull, Unavailable
from fleet.faults import Fault, Point, injected
from fleet.store.core import Beforehand, Store, Tx
from tests.empty_store import filled

TEXT = "first\r\nsecond ☂\n"


def needs(files: Path, text: str, _: Tx) -> str:
    return documents.kept(files, "t1.txt", text)


async def test_a_write_that_needs_a_document_finds_it_written(tmp_path: Path) -> None:
    files = tmp_path / "files"
    with Store.open(f"sqlite:///{filled(tmp_path / 's.db')}") as store:
        for text in (TEXT, TEXT, "other"):
            path = await store.write(partial(needs, files, text))
            assert path == str(files / "t1.txt")
            assert Path(path).read_bytes() == text.encode()
    assert [found.name for found in files.iterdir()] == ["t1.txt"]


def test_a_document_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    with pytest.raises(Beforehand):
        documents.kept(tmp_path, "t1.txt", TEXT)
    path = Path(documents.write(tmp_path, "t1.txt", TEXT))
    written = path.stat()
    assert documents.kept(tmp_path, "t1.txt", TEXT) == str(path)
    assert path.stat() == written
    with pytest.raises(Beforehand):
        documents.kept(tmp_path, "t1.txt", f"{TEXT}more")


def test_a_full_disk_has_its_own_error_and_leaves_the_earlier_document_whole(tmp_path: Path) -> None:
    documents.write(tmp_path, "t1.txt", TEXT)
    with injected(Fault(Point.FILE_WRITE)), pytest.raises(DiskFull, match="Free some disk space"):
        documents.write(tmp_path, "t1.txt", "other")
    assert documents.kept(tmp_path, "t1.txt", TEXT)


def test_a_place_where_no_document_can_be(tmp_path: Path) -> None:
    (tmp_path / "files").touch()
    with pytest.raises(Unavailable, match="could not write a document") as caught:
        documents.write(tmp_path / "files", "t1.txt", TEXT)
    assert not isinstance(caught.value, DiskFull)
