"""Layer 6 for JavaScript, TypeScript and Go: the scan of their syntax trees, by tree-sitter. Pure.

As for Python, only what a change adds is held; what defeats it is listed in ``docs/gates.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from gates.layers.go_rules import GO_RULES, learn_go
from gates.layers.script_detours import learn_texts
from gates.layers.script_rules import SCRIPT_RULES, learn_script
from gates.layers.syntax import ScannedFile, by_kind, walk

_SCRIPTS: Final = {".js": "javascript", ".cjs": "javascript", ".mjs": "javascript", ".jsx": "javascript"}
_TYPED: Final = {".ts": "typescript", ".cts": "typescript", ".mts": "typescript", ".tsx": "tsx"}
LANGUAGES: Final = {**_SCRIPTS, **_TYPED, ".go": "go"}


@dataclass(frozen=True, slots=True)
class Seen:
    """Lines, from 1, and what was seen there."""

    first: int
    last: int
    why: str


def language_of(path: str) -> str:
    """The grammar of a file; empty: there is none here."""
    return next((name for ending, name in LANGUAGES.items() if path.endswith(ending)), "")


@cache
def available() -> bool:
    """Whether the grammars are installed."""
    return all(find_spec(f"tree_sitter_{name}") for name in ("go", "javascript", "typescript"))


def sights(path: str, data: bytes, *, test: bool) -> Iterator[Seen]:
    """Everything that a person should see in one file."""
    source = ScannedFile(language_of(path), test)
    root = _parser(source.language).parse(data).root_node
    nodes = list(walk(root))
    for node in nodes:
        learn_texts(source, node)
        (learn_go if source.language == "go" else learn_script)(source, node)
    rules = by_kind(GO_RULES if source.language == "go" else SCRIPT_RULES, test=test)
    for node in nodes:
        for look in rules.get(node.type, ()):
            if why := look(source, node):
                yield Seen(node.start_point[0] + 1, node.end_point[0] + 1, why)
                break


@cache
def _parser(language: str) -> Any:
    import tree_sitter
    import tree_sitter_go
    import tree_sitter_javascript
    import tree_sitter_typescript

    grammar = {
        "go": tree_sitter_go.language,
        "javascript": tree_sitter_javascript.language,
        "typescript": tree_sitter_typescript.language_typescript,
        "tsx": tree_sitter_typescript.language_tsx,
    }[language]
    return tree_sitter.Parser(tree_sitter.Language(grammar()))
