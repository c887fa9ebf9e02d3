"""``[setup.NAME]``: what a repository needs to be installed, where, and when to do it again."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, field_validator

from fleet.config.limits import SECTION
from fleet.config.values import Duration, Patterns, Provided, Steps, Variable, duration_us, overlapping, wrong


class SetupConfig(BaseModel):
    """What has to be installed before gates and agents run: ``[setup.NAME]`` in ``airboss.toml``."""

    model_config = SECTION

    run: Steps
    """A command as an argv list, or a list of commands that run one after the other."""
    inputs: Annotated[Patterns, Field(min_length=1)]
    """gitignore patterns of the files that decide what it makes. A change of one is held for a person."""
    provides: Annotated[list[Provided], Field(min_length=1)]
    """The directories that it makes, inside the tree. Their `bin` and `.bin` come first in PATH."""
    timeout: Duration = "15m"
    """How long it may run: a whole number followed by `s`, `m` or `h`."""
    network: bool = False
    """Whether it may use the machine's network. Otherwise it has loopback only."""
    env: dict[Variable, str] = {}
    """Plain environment values for its commands."""

    @field_validator("provides")
    @classmethod
    def _apart(cls, provides: list[str]) -> list[str]:
        if found := overlapping(provides):
            raise wrong(f"lists {found[1]!r}, which is inside {found[0]!r}", "list each directory once")
        return provides

    @property
    def timeout_us(self) -> int:
        """``timeout`` in microseconds."""
        return duration_us(self.timeout)
