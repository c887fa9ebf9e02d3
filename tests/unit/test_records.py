"""Data classes whose methods come late: they do what the library's do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from fleet.records import dataclass

Make = Callable[[type], Any]


def usual(cls: type) -> Any:
    return dataclasses.dataclass(frozen=True, slots=True)(cls)


def late(cls: type) -> Any:
    return dataclass(frozen=True, slots=True)(cls)


def classes(make: Make) -> dict[str, Any]:
    """One of each kind that we write, made by the library or by us."""

    @make
    class Plain:
        a: int
        b: str = "b"
        c: list[int] = field(default_factory=list, compare=False)
        d: bool = field(default=True, kw_only=True, repr=False)

    @make
    class Derived(Plain):
        e: float = 1.5

    @make
    class Checked:
        a: int
        twice: int = field(init=False, default=0)

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError("below zero")
            object.__setattr__(self, "twice", 2 * self.a)

    @make
    class Own:  # noqa: PLW1641 - it gets one
        a: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self)) and self.a.lower() == other.a.lower()

        def __repr__(self) -> str:
            return f"own {self.a}"

    @make
    class Empty:
        """Nothing."""

    return {each.__name__: each for each in (Plain, Derived, Checked, Own, Empty)}


LIBRARY, OURS = classes(usual), classes(late)
ASKED: dict[str, Callable[[dict[str, Any]], object]] = {
    "by place": lambda has: repr(has["Plain"](1, "x", [2])),
    "by name": lambda has: repr(has["Plain"](b="x", a=1, d=False)),
    "defaults": lambda has: (has["Plain"](1).b, has["Plain"](1).c, has["Plain"](1).d),
    "no default is shared": lambda has: has["Plain"](1).c is has["Plain"](1).c,
    "too few": lambda has: has["Plain"](),
    "too many": lambda has: has["Plain"](1, "x", [], True),
    "an unknown name": lambda has: has["Plain"](1, z=2),
    "equal": lambda has: (has["Plain"](1) == has["Plain"](1, "b", [9]), has["Plain"](1) == has["Plain"](2)),
    "of another class": lambda has: (has["Plain"](1) == has["Derived"](1), has["Plain"](1) == 1),
    "hash": lambda has: len({has["Plain"](1), has["Plain"](1, "b", [9]), has["Plain"](2)}),
    "hash of a list": lambda has: hash(has["Own"]([])),
    "assigned": lambda has: setattr(has["Plain"](1), "a", 2),
    "deleted": lambda has: delattr(has["Derived"](1), "a"),
    "derived": lambda has: repr(has["Derived"](1, e=2.5)),
    "plainly derived": lambda has: type("More", (has["Plain"],), {})(1) == has["Plain"](1),
    "what comes after": lambda has: repr(has["Checked"](2)),
    "what refuses": lambda has: has["Checked"](-1),
    "replaced": lambda has: repr(dataclasses.replace(has["Derived"](1), b="new", d=False)),
    "as a dict": lambda has: dataclasses.asdict(has["Derived"](1)),
    "copied": lambda has: repr(copy.deepcopy(has["Derived"](1, c=[2]))),
    "its own methods": lambda has: (has["Own"]("A") == has["Own"]("a"), repr(has["Own"]("a"))),
    "matched": lambda has: has["Plain"].__match_args__,
    "slots": lambda has: (has["Plain"].__slots__, has["Derived"].__slots__, hasattr(has["Plain"](1), "__dict__")),
    "nothing": lambda has: (repr(has["Empty"]()), has["Empty"]() == has["Empty"](), hash(has["Empty"]())),
    "words": lambda has: (has["Empty"].__doc__, has["Plain"].__qualname__, has["Plain"].__module__),
}


def came_to(asked: Callable[[dict[str, Any]], object], has: dict[str, Any]) -> object:
    try:
        return asked(has)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("what", ASKED)
def test_it_comes_to_the_same(what: str) -> None:
    assert came_to(ASKED[what], OURS) == came_to(ASKED[what], LIBRARY)


@dataclass(frozen=True, slots=True)
class Sent:
    """At the top of a module, as pickle wants it."""

    a: int
    b: tuple[str, ...] = ()


def test_it_goes_to_another_process_and_back() -> None:
    assert pickle.loads(pickle.dumps(Sent(1, ("x",)))) == Sent(1, ("x",))


def test_nothing_new_is_assigned_but_to_a_class_derived_from_it() -> None:
    """The library's own answer to both is an error about ``super``, up to Python 3.13."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Sent(1), "z", 2)  # noqa: B010 - a type checker would refuse it
    more = type("More", (Sent,), {})(1)
    more.z = 2
    assert more.z == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        more.a = 2


def test_only_what_is_called_is_compiled() -> None:
    made = late(type("Fresh", (), {"__annotations__": {"a": "int"}, "__module__": __name__}))
    names = ("__init__", "__repr__", "__eq__", "__hash__")
    assert all(hasattr(vars(made)[name], "late") for name in names)
    first = made(1)
    assert [name for name in names if hasattr(vars(made)[name], "late")] == ["__repr__", "__eq__", "__hash__"]
    assert first == made(1)
    assert [name for name in names if hasattr(vars(made)[name], "late")] == ["__repr__"]


def test_other_forms_are_the_librarys() -> None:
    @dataclass(slots=True)
    class Changing:
        a: int

    changing = Changing(1)
    changing.a = 2
    assert changing == Changing(2)
    assert not hasattr(vars(Changing)["__init__"], "late")
