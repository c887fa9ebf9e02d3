"""Names the sites of a fault (:mod:`fleet.faults`) that are functions inside functions."""

from __future__ import annotations

from collections.abc import Callable


def site_within(function: Callable[..., object], name: str) -> str:
    """The site of the only function with this name that ``function`` makes."""
    constants = function.__code__.co_consts
    (inner,) = (code for code in constants if getattr(code, "co_name", "") == name)
    return f"{function.__module__}.{inner.co_qualname}:{inner.co_firstlineno}"
