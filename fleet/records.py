"""Data classes whose methods are compiled when one of them is first called.

Python compiles six methods of a frozen data class when its module is imported, for 0.3 ms. We have five hundred, of
most of which a process calls none: that was a third of what a controller's start computes (ADR 112).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dataclasses import dataclass

__all__ = ["dataclass"]

_USUAL: Final = {"frozen": True, "slots": True}
_LATE: Final = ("__init__", "__repr__", "__eq__", "__hash__")


def _dataclass(cls: type | None = None, /, **how: bool) -> Any:
    """As the library's, which also makes every class that is not simply frozen and slotted."""
    if cls is None and how == _USUAL:
        return _frozen
    return dataclasses.dataclass(cls, **how)


if not TYPE_CHECKING:
    dataclass = _dataclass


def _frozen(cls: type) -> Any:
    own = vars(cls)
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    for name in _LATE:
        if own.get(name) is None:  # __hash__ is None in a class that has its own __eq__
            setattr(made, name, _late(made, name))
    for name, method in (*_refusals(made), ("__getstate__", _state), ("__setstate__", _set_state)):
        if name not in own:
            setattr(made, name, method)
    return made


def _late(made: Any, name: str) -> Callable[..., Any]:
    """A method that puts the compiled ones in place, and calls that of its name."""

    def method(self: Any, *given: Any, **named: Any) -> Any:
        _compile(made, name)
        return getattr(made, name)(self, *given, **named)

    method.__qualname__ = f"{made.__qualname__}.{name}"
    vars(method)["late"] = True
    return method


def _compile(made: Any, wanted: str) -> None:
    """Takes the method, and what is compiled with it, from a class of the same fields that the library makes."""
    fields = [(field.name, field.type, _again(field)) for field in dataclasses.fields(made)]
    after = {"__post_init__": made.__post_init__} if hasattr(made, "__post_init__") else {}
    parts: dict[str, Any] = {
        "init": wanted == "__init__",
        "repr": wanted == "__repr__",
        "eq": wanted in ("__eq__", "__hash__"),
    }
    whole = dataclasses.make_dataclass(made.__name__, fields, namespace=after, frozen=True, **parts)
    for name in _LATE:
        method = vars(whole).get(name)
        if method is not None and getattr(vars(made)[name], "late", False):
            method.__qualname__ = f"{made.__qualname__}.{name}"
            setattr(made, name, method)


def _again(field: dataclasses.Field[Any]) -> Any:
    """A field like this one. One object of the library cannot be in two classes."""
    said = ("default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only")
    return dataclasses.field(**{name: getattr(field, name) for name in said})


def _refusals(made: Any) -> list[tuple[str, Callable[..., None]]]:
    """What assigns and deletes nothing. A class derived from it may have more of its own."""
    names = made.__dataclass_fields__

    def assign(self: Any, name: str, value: object) -> None:
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(made, self).__setattr__(name, value)

    def delete(self: Any, name: str) -> None:
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(made, self).__delattr__(name)

    return [("__setattr__", assign), ("__delattr__", delete)]


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
