"""A person's file on its way to the agent: beside the worktree, under a name that can do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import Misused
from fleet.flight import attachments
from fleet.machines.local import LocalExecutor
from fleet.model import Session
from fleet.ports import Image
from fleet.store import sessions
from fleet.store.chat import attachments as attachment_rows
from fleet.store.core import Store, Tx
from tests.empty_store import filled
from tests.rows import asked, placed


def begin(tx: Tx) -> Session:
    return placed(tx, asked(tx).id, "near")


def enclose(tx: Tx, note: int, path: Path, name: str, media_type: str = "text/plain") -> None:
    attachment_rows.add(tx, "t1", note, name=name, path=str(path), media_type=media_type, size=1)


async def test_files_lie_on_the_machine_and_small_pictures_are_shown(tmp_path: Path) -> None:
    picture, large = tmp_path / "1", tmp_path / "2"
    png = b"\x89PNG\r\n\x1a\n"
    picture.write_bytes(png)
    large.write_bytes(png.ljust(attachments.IMAGE_LIMIT + 1))
    executor = LocalExecutor("near", root=str(tmp_path / "root"))
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store:
        session = await store.write(begin)
        await store.write(
            lambda tx: enclose(tx, attachment_rows.REQUEST, picture, "../../etc/pass wd.png", "image/png")
        )
        await store.write(lambda tx: enclose(tx, attachment_rows.REQUEST, large, "huge.png", "image/png"))
        found = await attachments.of_request(store, executor, session)
        inbox = tmp_path / "root" / attachments.inbox_of(store, session)
        assert found.paths == (str(inbox / "1-pass_wd.png"), str(inbox / "2-huge.png"))
        assert Path(found.paths[0]).read_bytes() == png
        assert found.images == (Image("image/png", png, found.paths[0]),)
        picture.unlink()
        with pytest.raises(Misused, match="Send it again"):
            await attachments.of_request(store, executor, session)
        number = await store.write(lambda tx: sessions.add_note(tx, session.id, "look", "a::b"))
        await store.write(lambda tx: enclose(tx, number, large, "later.log"))
        newest, by_note = await attachments.of_notes(store, executor, session)
        assert (newest, by_note) == (number, {number: (str(inbox / "3-later.log"),)})
        assert [
            note.text for note in await store.write(lambda tx: sessions.take_notes(tx, session.id, newest))
        ] == ["look"]
        assert await attachments.of_notes(store, executor, session) == (0, {})
        await executor.close()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", ""),
        (b"<svg/>", ""),
        (b"", ""),
    ],
)
def test_a_picture_is_what_its_bytes_say(data: bytes, kind: str) -> None:
    assert attachments.picture_type(data) == kind


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("отчёт.pdf", "file.pdf"),
        ("日本語", "file"),
        ("-rf.tar.gz", "rf.tar.gz"),
        (".bashrc", "bashrc"),
        ("a" * 300 + ".png", "a" * 76 + ".png"),
        ("a." + "b" * 300, "a." + "b" * 78),
    ],
)
def test_a_name_keeps_its_ending(name: str, safe: str) -> None:
    """By which an agent tells what is in it."""
    assert attachments.safe_name(name) == safe


@given(st.text(max_size=300))
def test_a_name_is_one_harmless_component(name: str) -> None:
    safe = attachments.safe_name(name)
    assert 0 < len(safe) <= 80
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert safe not in (".", "..")
