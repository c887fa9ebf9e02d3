"""The part of our pytest plugin that finds objects of the tested code that equal what they have never seen."""

from __future__ import annotations

import builtins
import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any

from gates.layers.kit import pytest_hiding as hiding
from gates.layers.kit import pytest_watching as watching

_ORDINARY: Any = (0, "", [], {})
_BUILTIN = (int, float, str, bytes, tuple, list, dict, set, frozenset, complex, bytearray, BaseException)


def _probed(build: Any) -> Any:
    """Builds classes as Python does; an ``__eq__`` of the tested code is also asked about a stranger, each time."""

    def build_class(function: Any, name: str, *bases: Any, **words: Any) -> Any:
        cls = build(function, name, *bases, **words)
        file = os.path.relpath(function.__code__.co_filename, watching.asked["tree"])
        if not isinstance(cls, type) or file.startswith("..") or watching.of_tests(file):
            return cls
        plain = _watch_answers(cls, file)
        compare = cls.__dict__.get("__eq__") or _of_library(cls)
        if not hasattr(compare, "__code__"):
            return cls

        @functools.wraps(compare)
        def probing(self: Any, other: Any) -> Any:
            answer = compare(self, other)
            place = [file, compare.__code__.co_firstlineno, cls.__qualname__]
            if _yes(answer) and (
                _agrees(compare, self, _Stranger())
                or _easy(compare, self, other)
                or (hiding.now and (_near(compare, self, other) or (plain and plain.__eq__(self, other) is False)))
            ):
                watching.say("equal", what=place)
            elif hiding.now and type(answer) not in (bool, int, type(NotImplemented)):
                _watch_truth(answer, place)
            return answer

        with contextlib.suppress(AttributeError, TypeError):
            type.__setattr__(cls, "__eq__", probing)
        return cls

    return build_class


def _of_library(cls: Any) -> Any:
    """The comparison of ``collections.abc``: it asks a class of the tested code for its parts."""
    compare = cls.__eq__
    return compare if getattr(compare, "__module__", "") == "collections.abc" else None


#: What a class that is a number, a text or a list may answer otherwise than Python's own does.
_ANSWERS = (
    "__bool__", "__len__", "__contains__", "__lt__", "__le__", "__gt__", "__ge__", "__ne__",
    "__add__", "__radd__", "__sub__", "__rsub__", "__abs__", "__int__", "__float__", "__round__",
)  # fmt: skip


def _watch_truth(answer: Any, place: list[Any]) -> None:
    """A comparison that answers with an object: reports when a test takes that for a yes."""
    kind = type(answer)
    if hasattr(kind, "__len__"):
        if kind.__module__ == "builtins" and answer:
            watching.say("equal", what=place)
        return

    def truth(_: Any) -> bool:
        file = sys._getframe(1).f_code.co_filename
        if file == hiding.file_of_tests() or watching.of_tests(watching.within(file)):
            watching.say("equal", what=place)
        return True

    if not hasattr(kind, "__bool__"):
        with contextlib.suppress(AttributeError, TypeError):
            kind.__bool__ = truth


def _watch_answers(cls: Any, file: str) -> Any:
    """Compares what a class of the tested code answers in a hidden test with what the class of Python's that it
    extends would answer; and what any class subtracts with what it subtracts from the next number. Returns that
    class of Python's, if there is one."""
    plain = next((base for base in _BUILTIN[:-1] if issubclass(cls, base)), None)
    for name in _ANSWERS:
        written = cls.__dict__.get(name)
        own = getattr(plain, name, None) if plain else None
        if plain and name == "__bool__" and own is None:
            own = _has_some(plain)
        if hasattr(written, "__code__") and (own or name in ("__sub__", "__rsub__")):
            place = [file, written.__code__.co_firstlineno, "%s.%s" % (cls.__qualname__, name)]
            with contextlib.suppress(AttributeError, TypeError):
                setattr(cls, name, _answering(written, own, place))
    return plain


def _has_some(plain: Any) -> Any:
    return lambda value: plain.__len__(value) > 0


def _answering(written: Any, own: Any, place: list[Any]) -> Any:
    @functools.wraps(written)
    def answering(self: Any, *given: Any) -> Any:
        answer = written(self, *given)
        if hiding.now and _is_other(written, own, self, given, answer):
            watching.say("equal", what=place)
        return answer

    return answering


def _is_other(written: Any, own: Any, one: Any, given: Any, answer: Any) -> bool:
    try:
        if own:
            wanted = own(one, *given)
            return wanted is not NotImplemented and not _same(wanted, answer)
        return type(given[0]) in (int, float) and _same(_bare(answer), written(one, given[0] + 1))
    except Exception:
        return False


def _bare(value: Any) -> Any:
    """A number as Python's own, whatever its class answers."""
    for base in (int, float):
        if isinstance(value, base):
            return base.__add__(value, base(0))  # type: ignore[operator]  # of either
    return value


def _same(wanted: Any, answer: Any) -> bool:
    wanted, answer = _bare(wanted), _bare(answer)
    if type(wanted) in (int, float, bool) and type(answer) in (int, float, bool):
        return bool(wanted == answer)
    return type(wanted) not in (int, float, bool)


def _agrees(compare: Any, one: Any, other: Any) -> bool:
    try:
        return _yes(compare(one, other))
    except Exception:
        return False


def _easy(compare: Any, one: Any, other: Any) -> bool:
    """Whether it also equals what is far from what it was compared with."""
    return sum(_agrees(compare, one, each) for each in _far_from(other)) > 1


def _near(compare: Any, one: Any, other: Any) -> bool:
    """Whether it also equals what is only close to what a test that failed on the base compared it with."""
    kind = type(other)
    if kind in (int, float):
        close: list[Any] = [other + 1, other - 1, other + 2, other + 5, other + 10, other + 100, other * 2 + 3]
    elif kind is str:
        close = [other.swapcase(), other + " ", " " + other, other.lower(), other.upper()]
        close = [each for each in close if each != other]
    else:
        return False
    return any(_agrees(compare, one, each) for each in close)


def _far_from(value: Any) -> list[Any]:
    kind = type(value)
    if kind in (int, float):
        return [value * 7 + 100_003, -value * 5 - 70_001, value * 13 + 200_017]
    if kind in (str, bytes):
        mark = b"?" if kind is bytes else "?"
        return [
            value + mark,
            mark + value,
            mark + value[::-1],
            *([mark * len(value), value[:-1] + mark] if value else []),
        ]
    if kind in (list, tuple):
        others = [kind(_Stranger() for _ in value) for _ in value[:2]]
        return [value + kind([_Stranger()]), kind([_Stranger()]) + value, kind([_Stranger(), _Stranger()]), *others]
    if kind in (set, frozenset):
        strangers = [frozenset(_Stranger() for _ in value) for _ in range(2)]
        return [value | {_Stranger()}, *map(kind, strangers)]
    if kind is dict:
        others = [dict.fromkeys(value, _Stranger()) for _ in list(value)[:2]]
        return [{**value, "?": _Stranger()}, {"?": _Stranger()}, {"?": value}, *others]
    return []


def _yes(answer: object) -> bool:
    return answer is True or (type(answer) is int and answer != 0)


class _Stranger:
    """An object that nothing of the tested code can know, and nothing should be equal to."""

    def __init__(self) -> None:
        self.only_here = object()


def equal_to_everything() -> list[list[Any]]:
    """Classes of the tested code, tests aside, whose instances say that they equal a stranger: file, line, name."""
    found = []
    cls: Any
    for cls in _classes():
        try:
            compare = type.__dict__["__dict__"].__get__(cls).get("__eq__")
            written = getattr(compare, "__wrapped__", compare)
            code = getattr(written, "__code__", None)
            file = getattr(sys.modules.get(cls.__module__), "__file__", None) or getattr(code, "co_filename", "")
            relative = os.path.relpath(file, watching.asked["tree"]) if file else ".."
            if compare is None or relative.startswith("..") or watching.of_tests(relative):
                continue
            one = _instance(cls)
            if _agrees(compare, one, _Stranger()) or any(_easy(compare, one, each) for each in _ORDINARY):
                line = getattr(code, "co_firstlineno", 0)
                found.append([relative, line, cls.__qualname__])
        except BaseException:
            continue
    return found


def _classes() -> Iterator[type]:
    seen: set[int] = set()
    waiting: list[Any] = [object]
    cls: Any
    while waiting:
        for cls in type.__subclasses__(waiting.pop()):
            if id(cls) not in seen:
                seen.add(id(cls))
                waiting.append(cls)
                yield cls


def _instance(cls: type) -> Any:
    base: Any
    for base in _BUILTIN:
        if issubclass(cls, base):
            return base.__new__(cls)
    return object.__new__(cls)


if watching.asked.get("check"):
    builtins.__build_class__ = _probed(builtins.__build_class__)
