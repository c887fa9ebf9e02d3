"""The part of our pytest plugin that hears failures of a test of which nobody else hears: the tested code kept them
to itself, in a context manager, a loop or whatever calls a function of the test.
"""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

from gates.layers.kit import pytest_watching as watching

#: What a file of tests says that expects a failed assertion, or any error.
_EXPECTS_ALL = re.compile(r"AssertionError|except\s*:|(except|[rR]aises\w*|suppress)\W{1,3}(Base)?Exception\b")
_EXPECTS_SOME = re.compile(r"\bexcept\b|[rR]aises|suppress|return_exceptions|AssertionError")
#: What each hidden file of tests says, by its path.
_texts: dict[str, str] = {}


def learn(place: str) -> None:
    """Remembers what a file of tests expects; it is not there while its tests run."""
    with contextlib.suppress(OSError, UnicodeDecodeError), open(place, encoding="utf-8") as file:
        _texts[place] = file.read()


@contextlib.contextmanager
def heard(place: str, hidden_as: str) -> Iterator[None]:
    """Runs a test, and reports each failure in its file that did not end it. ``hidden_as``: how the test's own
    function names its file."""
    text = _texts.get(place)
    if text is None or _EXPECTS_ALL.search(text):
        yield
        return
    functions, seen, before = _functions(text), dict[int, Any](), sys.gettrace()

    def inside(frame: Any, event: str, given: Any) -> Any:
        if event == "exception" and (
            _is_failed(given[0]) or (_is_of_source(*given) and not _expects(functions, frame.f_lineno))
        ):
            seen.setdefault(id(given[1]), (frame.f_lineno, given[1]))
        return inside

    def called(frame: Any, _event: str, _given: Any) -> Any:
        return inside if frame.f_code.co_filename in (place, hidden_as) else None

    sys.settrace(called)
    threading.settrace(called)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)
    for line, _ in seen.values():
        watching.say("swallowed", what=[watching.within(place), line])


def _functions(text: str) -> list[tuple[int, int, bool]]:
    """First and last line of each function of a file, outermost first, and whether it expects errors."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    lines, found = text.splitlines(), []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            last = node.end_lineno or first
            found.append((first, last, bool(_EXPECTS_SOME.search("\n".join(lines[first - 1 : last])))))
    return found


def _expects(functions: list[tuple[int, int, bool]], line: int) -> bool:
    """Whether the outermost function around a line expects errors, or there is none."""
    return next((expects for first, last, expects in functions if first <= line <= last), True)


def _is_failed(kind: Any) -> bool:
    return issubclass(kind, AssertionError) or kind.__name__ == "Failed"  # as pytest.fail() raises


def _is_of_source(kind: Any, _error: Any, trace: Any) -> bool:
    """Whether the tested code raised it; not how an iteration ends."""
    if trace is None or not issubclass(kind, Exception) or issubclass(kind, (StopIteration, StopAsyncIteration)):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = watching.within(trace.tb_frame.f_code.co_filename)
    return file not in ("..", "main.py") and not watching.of_tests(file)
