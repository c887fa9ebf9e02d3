"""The runner's image: compiled by the Python that runs it, and loaded from memory.

The runner is never loaded from a file of the login: an agent or gate running as this login could have changed it
between two starts. The sources come from the controller over each link, and what supervisors are forked from gets
the compiled image from its parent on standard input.
"""

from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any


class Loader:
    """Finds and loads modules from the compiled image."""

    def __init__(self, compiled: Mapping[str, bytes]) -> None:
        self.compiled = compiled

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.compiled:
            return None
        make: Any = type(sys.__spec__)  # importing importlib.machinery costs most of a millisecond at each start
        spec: ModuleSpec = make(name, self, is_package=name == "runner")
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """None: use the default module object."""

    def exec_module(self, module: ModuleType) -> None:
        exec(marshal.loads(self.compiled[module.__name__]), module.__dict__)


def build(sources: Mapping[str, str]) -> bytes:
    """Compiles the runner's modules, given as sources by file name, into an image."""
    return joined({name: compile(source, "runner/" + name, "exec") for name, source in sources.items()})


def joined(codes: Mapping[str, CodeType]) -> bytes:
    """The image of compiled modules, given by file name."""
    names = {name: ("runner." + name[: -len(".py")]).replace(".__init__", "") for name in codes}
    return marshal.dumps({names[name]: marshal.dumps(code) for name, code in codes.items()})


def run(image: bytes) -> None:
    """Runs ``sys.argv`` with the image's modules."""
    sys.meta_path.insert(0, Loader(marshal.loads(image)))
    from .__main__ import main

    main(image)
