"""Finds calls that write a file (for `walls.py`). Nothing is imported, only read."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

_WRITES = {"write_text", "write_bytes", "touch", "mkstemp", "NamedTemporaryFile", "FileIO", "savefig", "copyfile"}
_RENAMES = {"replace", "rename", "renames", "copy", "copy2", "move"}
_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT"}


def file_writes(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.Call, str]]:
    """Each call that writes, makes or renames a file, with the name that is called."""
    for node in nodes:
        if isinstance(node, ast.Call) and _writes(node):
            yield node, _called(node)


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _writes(node: ast.Call) -> bool:
    name = _called(node)
    match node.func:
        case ast.Attribute(value=ast.Name(id="os" | "shutil")) if name in _RENAMES:
            return True
        case ast.Attribute(value=ast.Name(id="os"), attr="open"):
            named = {word.attr for word in ast.walk(node) if isinstance(word, ast.Attribute)}
            return bool(named & _FLAGS) and "devnull" not in named
        case ast.Attribute(attr="replace" | "rename"):  # of a path: a string's takes two, a record's takes names
            return len(node.args) == 1 and not node.keywords
        case ast.Name(id="open" | "fdopen") | ast.Attribute(value=ast.Name(id="os"), attr="fdopen"):
            return _is_for_writing(node, place=1)
        case ast.Attribute(attr="open"):
            return _is_for_writing(node, place=0)
    return name in _WRITES


def _is_for_writing(node: ast.Call, *, place: int) -> bool:
    """Whether the mode, the argument at this place or the one called so, writes."""
    given = [*node.args[place : place + 1], *(word.value for word in node.keywords if word.arg == "mode")]
    modes = [mode.value for mode in given if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    return any(set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)
