"""The runner as it runs: compiled by the very Python that runs it, and loaded from memory.

No file of the login decides what runs. Code that an agent or a gate started as this login could have rewritten one
between two starts; so the sources come from the controller with each link, and a supervisor gets the compiled image
from its parent's memory, on standard input.
"""

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
    """Finds modules among compiled ones, and loads one when it is asked for."""

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


def build(sources: Mapping[str, str]) -> bytes:
    """The image of the runner's modules, from their sources by file name."""
    compiled = {}
    for name, source in sources.items():
        module = ("runner." + name[: -len(".py")]).replace(".__init__", "")
        compiled[module] = marshal.dumps(compile(source, "runner/" + name, "exec"))
    return marshal.dumps(compiled)


def run(image: bytes) -> None:
    """Does what ``sys.argv`` says with the image's own modules."""
    sys.meta_path.insert(0, Loader(marshal.loads(image)))
    from .__main__ import main

    main(image)
