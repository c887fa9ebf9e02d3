"""What names in a Python file stand for, as far as its text shows: after ``import os as o``, ``o._exit`` is
``os._exit``."""

from __future__ import annotations

import ast
from typing import Final

_IMPORTERS: Final = frozenset({"__import__", "importlib.import_module", "importlib.__import__"})
_ASKS_ANY: Final = frozenset(
    {"getattr", "setattr", "vars", "object.__getattribute__", "inspect.getmembers", "inspect.getattr_static"}
)


class Names:
    """The imported names of one file."""

    def __init__(self, tree: ast.Module) -> None:
        self._means: dict[str, str] = {}
        self.modules: set[str] = set()
        self.imported: set[str] = set()
        self.sources: set[str] = set()
        self.loaded: set[str] = set()
        for node in ast.walk(tree):
            match node:
                case ast.Import():
                    for alias in node.names:
                        top = alias.name.split(".")[0]
                        self._bind(alias.asname or top, alias.name if alias.asname else top)
                        self.modules.add(alias.asname or top)
                        self.sources.update((top, alias.name))
                case ast.ImportFrom():
                    source = "." * node.level + (node.module or "")
                    self.sources.add(source)
                    for alias in node.names:
                        self._bind(alias.asname or alias.name, f"{source}.{alias.name}")
                        self.loaded.add(f"{source}.{alias.name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.NamedExpr | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                meant = self.dotted(node.value)
                if meant and not isinstance(node.value, ast.Call):
                    for target in targets:
                        if isinstance(target, ast.Name) and meant.split(".")[0] != target.id:
                            self._means.setdefault(target.id, meant)

        self.asks_any = any(self._asks_any(node) for node in ast.walk(tree))

    def _asks_any(self, node: ast.AST) -> bool:
        """Whether it asks an object for a name that is made at run time, or for all of its names."""
        match node:
            case ast.Attribute(attr="__dict__" | "__getattribute__"):
                return True
            case ast.Call(func=func, args=[_]):
                return self.dotted(func) in _ASKS_ANY
            case ast.Call(func=func, args=[_, name, *_]):
                return self.dotted(func) in _ASKS_ANY and not isinstance(name, ast.Constant)
        return False

    def _bind(self, name: str, meaning: str) -> None:
        self._means[name] = meaning
        self.imported.add(name)

    def dotted(self, node: ast.AST) -> str:
        """The full name of what an expression stands for; empty when it is not a name."""
        match node:
            case ast.Name(id=name):
                return self._means.get(name, name)
            case ast.Attribute(value=value, attr=attr):
                owner = self.dotted(value)
                return f"{owner}.{attr}" if owner else ""
            case ast.Call(func=func, args=[target, ast.Constant(value=str() as attr), *_]) if self.dotted(func) in {
                "getattr",
                "builtins.getattr",
            }:
                owner = self.dotted(target)
                return f"{owner}.{attr}" if owner else ""
            case ast.Call(func=func, args=[ast.Constant(value=str() as module), *_]) if (
                self.dotted(func) in _IMPORTERS
            ):
                return module
            case ast.Subscript(value=value, slice=ast.Constant(value=str() as key)):
                owner = self.dotted(value)
                if owner == "sys.modules":
                    return key
                if owner.endswith(".__dict__"):
                    return f"{owner.removesuffix('.__dict__')}.{key}"
        return ""
