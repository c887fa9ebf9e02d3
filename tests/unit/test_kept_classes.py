"""Data classes that are made of what was compiled before."""

from __future__ import annotations

import dataclasses
import inspect
import marshal
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from fleet.kept_classes import kept_classes


def made(place: Path) -> type[Any]:
    with kept_classes(place):

        @dataclasses.dataclass(frozen=True, slots=True, order=True)
        class Point:
            x: int
            y: list[int] = dataclasses.field(default_factory=list)

    return Point


def codes_in(place: Path) -> dict[str, CodeType]:
    kept = place.read_bytes()
    assert kept.startswith(MAGIC_NUMBER)
    codes: dict[str, CodeType] = marshal.loads(kept[len(MAGIC_NUMBER) :])
    return codes


def test_a_class_is_the_same_whether_it_was_kept_or_not(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True, slots=True, order=True)
    class Plain:
        x: int
        y: list[int] = dataclasses.field(default_factory=list)

    place = tmp_path / "kept"
    for point in (made(place), made(place)):
        assert inspect.signature(point) == inspect.signature(Plain)
        assert point.__init__.__annotations__ == Plain.__init__.__annotations__
        assert point(1) == point(1, []) < point(2) and repr(point(1)).endswith("Point(x=1, y=[])")
        with pytest.raises(dataclasses.FrozenInstanceError):
            point(1).x = 2
    assert "exec" not in vars(dataclasses)


def test_what_was_compiled_is_not_compiled_again(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    made(place)
    other = {text: compile(text.replace("'x',x)", "'x',x+1)"), "<string>", "exec") for text in codes_in(place)}
    place.write_bytes(MAGIC_NUMBER + marshal.dumps(other))
    before = place.stat().st_mtime_ns
    assert made(place)(1).x == 2
    assert place.stat().st_mtime_ns == before, "nothing new is to be kept"


@pytest.mark.parametrize("kept", [b"", b"\0\0\0\0half", MAGIC_NUMBER, MAGIC_NUMBER + b"[\0", MAGIC_NUMBER + b"N"])
def test_what_is_damaged_or_of_another_python_is_made_anew(tmp_path: Path, kept: bytes) -> None:
    place = tmp_path / "kept"
    place.write_bytes(kept)
    assert made(place)(1).x == 1
    assert codes_in(place)


def test_what_another_python_compiled_is_not_run(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    made(place)
    wrong = {text: compile("raise SystemError", "<string>", "exec") for text in codes_in(place)}
    place.write_bytes(b"\1\2\r\n" + marshal.dumps(wrong))
    assert made(place)(1).x == 1
    assert codes_in(place).keys() == wrong.keys()


def test_who_may_not_write_there_starts_all_the_same(tmp_path: Path) -> None:
    assert made(tmp_path / "missing" / "kept")(1).x == 1
    assert list(tmp_path.iterdir()) == []


def test_what_failed_to_load_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImportError), kept_classes(tmp_path / "kept"):
        dataclasses.make_dataclass("Half", ["x"])
        raise ImportError
    assert list(tmp_path.iterdir()) == []
    assert "exec" not in vars(dataclasses)
