"""JSON by the parts of Python that are written in C. The module around them imports regular expressions, enums and
what these import: a third of what a start of the runner takes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class Defaults:
    """What the scanner asks for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__


def refuse(value: object) -> NoReturn:
    raise TypeError("%s is not JSON" % type(value).__name__)


def loads(data: bytes | bytearray | str) -> Any:
    """Raises ``ValueError`` for anything that is not one value."""
    text = (data if isinstance(data, str) else data.decode("utf-8", "surrogatepass")).strip(" \t\r\n")
    try:
        value, end = SCAN(text, 0)
    except (StopIteration, ImportError, SystemError):  # the library, which has its error, may not be loaded
        raise ValueError("no JSON value") from None
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


def dumps(value: Any) -> str:
    return "".join(ENCODE(value, 0))


try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    parts: Any = Defaults()
    SCAN = make_scanner(parts)
    ENCODE = make_encoder(None, refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True)
    if loads(dumps({"a": [1, "b"]})) != {"a": [1, "b"]}:
        raise ValueError("another JSON")
except (ImportError, AttributeError, TypeError, ValueError):  # another Python has other parts
    from json import dumps, loads  # type: ignore[assignment]  # they take more than these
