"""``[gates.NAME]`` in ``airboss.toml``, and what ``fleet.toml`` may add to it."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, Strict, StringConstraints, ValidationInfo, field_validator

from fleet.config.limits import SECTION
from fleet.config.values import (
    ONE_LINE_PATTERN,
    Duration,
    GateArgv,
    Matrix,
    Name,
    Need,
    Protection,
    Size,
    Variable,
    check_placeholders,
    duration_us,
    wrong,
)


class GateKind(StrEnum):
    """What decides a gate."""

    COMMAND = "command"
    """The exit status of `run`."""
    REVIEW = "review"
    """A model of another family than the change's author. It can only object."""


class LayerName(StrEnum):
    """The layers against tampering that can be switched off; docs/gates.md says what each does."""

    TOOLS = "tools"
    PROTECTED = "protected"
    BASELINE = "baseline"
    CANARIES = "canaries"
    SCAN = "scan"


Layers = Annotated[list[Annotated[LayerName, Strict(False)]], Field(json_schema_extra={"uniqueItems": True})]


class QuarantinedTest(BaseModel):
    """``[[gates.NAME.quarantine]]``: a test of pytest whose failures do not count for a while."""

    model_config = SECTION

    test: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=ONE_LINE_PATTERN)]
    """Its name as pytest prints it, for example `tests/test_net.py::test_retry`."""
    reason: Annotated[str, StringConstraints(min_length=3, max_length=300, pattern=ONE_LINE_PATTERN)]
    """Why, for those who read the card."""
    person: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=ONE_LINE_PATTERN)]
    """Who looks after it."""
    until: date
    """The last day, in UTC. From the next day on its failures count."""

    @field_validator("until", mode="before")
    @classmethod
    def _is_a_day(cls, until: object) -> object:
        if isinstance(until, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", until):
            return date.fromisoformat(until)
        return until

    def holds_on(self, day: date) -> bool:
        """Whether its failures do not count on this day."""
        return day <= self.until


class GateConfig(BaseModel):
    """A check that a change must pass: ``[gates.NAME]`` in ``airboss.toml``."""

    model_config = SECTION

    kind: Annotated[GateKind, Strict(False)] = GateKind.COMMAND
    """`command`: the exit status of `run` decides. `review`: a reviewer of `fleet.toml` may object."""
    matrix: Matrix = {}
    """One gate for each combination of these values; `{AXIS}` in `run` and `env` is the value. The axis `needs` is
    a label that the machine needs."""
    run: Annotated[GateArgv | None, Field(validate_default=True)] = None
    """The command as an argv list, never a shell line. `{junit}` becomes a path outside the checkout."""
    reviewer: Name | Literal[""] = ""
    """review only: a reviewer by its name in `fleet.toml`. Empty: the first one of another family."""
    allow_asserted: bool = True
    """review only: whether a reviewer counts whose model is known by its own word, not by a digest."""
    timeout: Duration = "10m"
    """How long it may run: a whole number followed by `s`, `m` or `h`."""
    needs: list[Need] = []
    """Labels that a machine needs to run it, such as `linux` or `xcode>=26`."""
    protected: Protection = []
    """gitignore patterns of files that a change may not touch, besides `airboss.toml`, tests of the base and what
    configures tests, which are always held."""
    rework_turns: Annotated[int, Field(ge=0, le=20)] = 3
    """How many turns the agent gets to fix a failure."""
    env: dict[Variable, str] = {}
    """Plain environment values for the command."""
    network: bool = False
    """Whether it may use the machine's network. Otherwise it has loopback only."""
    memory: Size = ""
    """The memory that it may use, for example `4G`; at most the machine's `run_memory`, also the default."""
    flaky: bool = False
    """Whether a failure is run once more, `limits.attempts` runs in all. The runs before stay on the card."""
    quarantine: list[QuarantinedTest] = []
    """Tests whose failures do not count until a day, each with a reason and a person. For gates of pytest."""
    layers: Layers = list(LayerName)
    """The layers against tampering that are on. All of them, unless the list is shorter."""

    @field_validator("run")
    @classmethod
    def _fits_kind(cls, run: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if info.data.get("kind") is GateKind.COMMAND and run is None:
            raise wrong("is missing", "give the program and its arguments")
        if info.data.get("kind") is GateKind.REVIEW and run is not None:
            raise wrong("is for gates of kind command only", "remove it: a reviewer runs nothing")
        if run is not None:
            check_placeholders(run, ("junit", *info.data.get("matrix", ())), "a script in the repository")
        return run

    @property
    def timeout_us(self) -> int:
        """``timeout`` in microseconds."""
        return duration_us(self.timeout)


class GateTightening(BaseModel):
    """``[repos.R.gates.NAME]`` in ``fleet.toml``: the operator's own gate, or a stricter form of the repository's.

    All fields are optional for a gate that the repository defines; any other gate needs ``run``.
    """

    model_config = SECTION

    kind: Annotated[GateKind, Strict(False)] | None = None
    """As in `airboss.toml`. Leave it out for a gate that the repository defines."""
    matrix: Matrix | None = None
    """As in `airboss.toml`, for the operator's own gates only."""
    run: GateArgv | None = None
    """As in `airboss.toml`. Leave it out for a gate that the repository defines."""
    reviewer: Name | None = None
    """review only: which reviewer, where the repository names none."""
    allow_asserted: bool | None = None
    """review only: false refuses a reviewer whose model no digest pins."""
    timeout: Duration | None = None
    """At most the repository's."""
    needs: list[Need] | None = None
    """Added to the repository's labels."""
    protected: Protection | None = None
    """Added to the repository's patterns."""
    rework_turns: Annotated[int, Field(ge=0, le=20)] | None = None
    """At most the repository's."""
    env: dict[Variable, str] | None = None
    """For the operator's own gates only: another environment makes it another command."""
    network: bool | None = None
    """False removes the network that the repository asks for."""
    flaky: bool | None = None
    """False: a failure counts at once, whatever the repository says."""
    quarantine: list[QuarantinedTest] | None = None
    """An empty list ends the repository's; of the operator's own gates, as in `airboss.toml`."""
    layers: Layers | None = None
    """Switched on in addition to the repository's."""
    memory: Size | None = None
    """At most the repository's."""

    @field_validator("run")
    @classmethod
    def _knows_its_placeholders(cls, run: list[str] | None, info: ValidationInfo) -> list[str] | None:
        known = ("junit", *(info.data.get("matrix") or ()))
        return None if run is None else check_placeholders(run, known, "a script in the repository")
