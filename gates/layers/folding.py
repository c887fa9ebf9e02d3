"""Text that a Python file puts together from parts that are all written down. Pure.

``"py" + "test"`` is ``pytest``, whatever the parts are called and however they are joined; so is what a function
of the file makes of such parts when all it does is in one ``return``. Nothing is run: only the few ways in which
text is put together are followed, to a bounded depth and length.
"""

from __future__ import annotations

import ast
import base64
import binascii
import codecs
import re
from collections.abc import Callable, Mapping
from typing import Final

Folded = str | bytes | int | tuple[str | int | bytes, ...]
_Values = Mapping[str, Folded]
_MOST: Final = 4096
_DEPTH: Final = 24
#: How much is followed in one file. Nobody's ordinary code needs a tenth of that.
_STEPS: Final = 200_000
#: Widths could make text of any length.
_PLAIN_PERCENT: Final = re.compile(r"(?:[^%]|%[%sdrc])*")
_PLAIN_FORMAT: Final = re.compile(r"(?:[^{}]|\{\d?\})*")
_PLAIN_METHODS: Final = frozenset({"lower", "upper", "strip", "lstrip", "rstrip", "title", "swapcase", "casefold"})
_DECODES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "b64decode": base64.b64decode,
    "urlsafe_b64decode": base64.urlsafe_b64decode,
    "b32decode": base64.b32decode,
    "b16decode": base64.b16decode,
    "a85decode": base64.a85decode,
    "b85decode": base64.b85decode,
    "unhexlify": binascii.unhexlify,
}
_CODECS: Final = frozenset({"rot13", "rot_13", "hex", "base64", "utf-8", "utf8", "ascii", "latin-1"})


class Folding:
    """The text of one file's expressions, as far as it follows from what is written there."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions: dict[str, ast.FunctionDef | ast.Lambda] = {}
        self._given: dict[str, ast.expr | None] = {}
        self._known: dict[str, Folded | None] = {}
        self._texts: dict[ast.AST, str] = {}
        self.steps = 0
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name, body=[*_, ast.Return()]):
                    self._functions[name] = node
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda() as made):
                    self._functions[name] = made
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._given[name] = None if name in self._given else value
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    for each, value in zip(names, values, strict=False):
                        if isinstance(each, ast.Name):
                            self._given[each.id] = None if each.id in self._given else value

    @property
    def given_up(self) -> bool:
        """Whether the file has more of such text than is followed."""
        return self.steps > _STEPS

    def given(self, node: ast.AST) -> ast.AST:
        """What a name that is given once stands for; anything else is itself."""
        found = self._given.get(node.id) if isinstance(node, ast.Name) else None
        return node if found is None else found

    def text(self, node: ast.expr) -> str:
        """What a put-together expression says; empty: it is not one, or not known."""
        if isinstance(node, ast.Constant | ast.Name):
            return ""  # rules read constants where they are written
        if node not in self._texts:  # several rules ask
            found = self._value(node, {}, _DEPTH)
            found = found.decode("latin-1") if isinstance(found, bytes) else found
            self._texts[node] = found if isinstance(found, str) else ""
        return self._texts[node]

    def _value(self, node: ast.AST | None, values: _Values, depth: int) -> Folded | None:
        self.steps += 1
        if node is None or depth <= 0 or self.given_up:
            return None
        try:
            found = self._made(node, values, depth - 1)
        except (ValueError, TypeError, OverflowError, LookupError, AttributeError):
            return None
        return None if isinstance(found, str | bytes | tuple) and len(found) > _MOST else found

    def _made(self, node: ast.AST, values: _Values, depth: int) -> Folded | None:
        match node:
            case ast.Constant(value=str() | bytes() | int() as value):
                return value
            case ast.Name(id=name):
                return values[name] if name in values else self._of_name(name, depth)
            case ast.BinOp(left=left, op=ast.Add() | ast.Mod() as op, right=right):
                return _joined(op, self._value(left, values, depth), self._value(right, values, depth))
            case ast.JoinedStr(values=parts):
                said = [self._value(_shown(part), values, depth) for part in parts]
                return None if None in said else "".join(map(str, said))
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                each = [self._value(part, values, depth) for part in parts]
                return None if None in each else tuple(part for part in each if isinstance(part, str | int | bytes))
            case ast.Subscript(value=value, slice=at):
                return self._part(self._value(value, values, depth), at, values, depth)
            case ast.Call(func=func, args=args, keywords=[]):
                return self._called(func, args, values, depth)
        return None

    def _of_name(self, name: str, depth: int) -> Folded | None:
        if name not in self._known:
            self._known[name] = None  # so that a name of itself ends
            self._known[name] = self._value(self._given.get(name), {}, depth)
        return self._known[name]

    def _part(self, of: Folded | None, at: ast.expr, values: _Values, depth: int) -> Folded | None:
        if not isinstance(of, str | bytes | tuple):
            return None
        if not isinstance(at, ast.Slice):
            index = self._value(at, values, depth)
            return of[index] if isinstance(index, int) else None
        ends: list[int | None] = []
        for each in (at.lower, at.upper, at.step):
            found = _number(each) if each is not None else None
            if each is not None and found is None:
                return None
            ends.append(found)
        return of[slice(*ends)]

    def _called(self, func: ast.expr, args: list[ast.expr], values: _Values, depth: int) -> Folded | None:
        if isinstance(func, ast.Attribute):
            own = self._value(func.value, values, depth)
            given = [self._value(each, values, depth) for each in args]
            if func.attr in _DECODES and len(given) == 1 and isinstance(given[0], str | bytes):
                return _DECODES[func.attr](_bytes(given[0]))
            if func.attr == "fromhex" and len(given) == 1 and isinstance(given[0], str):
                return bytes.fromhex(given[0])
            if func.attr == "decode" and len(given) == 2 and own is None and given[1] in _CODECS:
                return _decoded(given[0], str(given[1]))
            return _method(func.attr, own, given) if own is not None else None
        if not isinstance(func, ast.Name):
            return None
        if func.id in {"map", "reversed", "sorted", "list", "tuple"} and args:
            return self._sequence(func.id, args, values, depth)
        given = [self._value(each, values, depth) for each in args]
        match func.id, given:
            case "chr", [int() as number]:
                return chr(number)
            case "str", [str() | int() as value]:
                return str(value)
            case "str", [bytes() as value, str()]:
                return value.decode("latin-1")
            case "bytes" | "bytearray", [tuple() as numbers]:
                return bytes(number for number in numbers if isinstance(number, int))
        called = self._functions.get(func.id)
        return None if called is None or None in given else self._of_function(called, given, depth)

    def _of_function(
        self, called: ast.FunctionDef | ast.Lambda, given: list[Folded | None], depth: int
    ) -> Folded | None:
        words = [each.arg for each in called.args.args]
        if len(words) != len(given):
            return None
        known = {name: value for name, value in zip(words, given, strict=True) if value is not None}
        if isinstance(called, ast.Lambda):
            return self._value(called.body, known, depth)
        last = called.body[-1]
        return self._value(last.value, known, depth) if isinstance(last, ast.Return) else None

    def _sequence(self, kind: str, args: list[ast.expr], values: _Values, depth: int) -> Folded | None:
        parts = self._value(args[-1], values, depth)
        if not isinstance(parts, str | tuple):
            return None
        if kind == "map" and len(args) == 2 and isinstance(args[0], ast.Name):
            made: list[str | int | bytes] = []
            for each in parts:
                found = self._called(args[0], [ast.Constant(each)], values, depth)
                if not isinstance(found, str | int | bytes):
                    return None
                made.append(found)
            return tuple(made)
        listed = list(parts)
        return tuple(listed[::-1] if kind == "reversed" else listed)


def _shown(part: ast.expr) -> ast.expr | None:
    if isinstance(part, ast.FormattedValue):
        return part.value if part.format_spec is None else None
    return part


def _number(node: ast.expr) -> int | None:
    match node:
        case ast.Constant(value=int() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            return -value
    return None


def _joined(op: ast.operator, left: Folded | None, right: Folded | None) -> Folded | None:
    match left, right:
        case str() as template, str() | int() | tuple() as given if isinstance(op, ast.Mod):
            return template % given if _PLAIN_PERCENT.fullmatch(template) else None
        case (str() as one, str() as other) if isinstance(op, ast.Add):
            return one + other
        case (bytes() as first, bytes() as second) if isinstance(op, ast.Add):
            return first + second
    return None


def _method(name: str, own: Folded, given: list[Folded | None]) -> Folded | None:
    if isinstance(own, bytes) and name == "decode":
        return own.decode("latin-1")
    if not isinstance(own, str) or None in given:
        return None
    match name, given:
        case "join", [str() | tuple() as parts]:
            return own.join(each if isinstance(each, str) else "" for each in parts)
        case "replace", [str() as old, str() as new] if old:
            return own.replace(old, new)
        case "format", _ if _PLAIN_FORMAT.fullmatch(own):
            return own.format(*given)
        case "encode", _:
            return own.encode()
        case _ if name in _PLAIN_METHODS and not given:
            return str(getattr(own, name)())
    return None


def _decoded(value: Folded | None, codec: str) -> str | None:
    if not isinstance(value, str | bytes):
        return None
    found: object = codecs.decode(value if codec.startswith("rot") else _bytes(value), codec)  # type: ignore[arg-type]  # some codecs take bytes
    return found.decode("latin-1") if isinstance(found, bytes) else str(found)


def _bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value
