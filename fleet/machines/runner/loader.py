"""How the runner's modules are found when it runs as one compiled file (see ``image``)."""

from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class Loader:
    """Finds modules among the compiled ones that the running file carries, and loads one when it is asked for."""

    def __init__(self, compiled: Mapping[str, bytes]) -> None:
        self.compiled = compiled

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.compiled:
            return None
        make: Any = type(sys.__spec__)  # importing importlib.machinery would cost every start most of a millisecond
        spec: ModuleSpec = make(name, self, is_package=name == "runner")
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """None: an ordinary module will do."""

    def exec_module(self, module: ModuleType) -> None:
        exec(marshal.loads(self.compiled[module.__name__]), module.__dict__)
