"""``[witnesses.NAME]``, ``[telemetry]``, ``[metrics]`` and ``[console]``: who else sees what of the ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from fleet.config.limits import SECTION
from fleet.config.values import NOTE_KEY_PATTERN, EndpointUrl


class WitnessConfig(BaseModel):
    """A witness of the ledger: `airboss witness` of somebody else, or any that speaks C2SP's tlog-witness."""

    model_config = SECTION

    url: EndpointUrl
    """Its address, without `/add-checkpoint`."""
    key: Annotated[str, StringConstraints(max_length=400, pattern=NOTE_KEY_PATTERN)]
    """Its key, as it prints it: `NAME+ID+KEY`. Get it from its operator."""


class TelemetryConfig(BaseModel):
    """What the ledger has of what is said."""

    model_config = SECTION

    contents: Literal["hashed", "kept"] = "hashed"
    """`hashed`: of what people and agents say and tools print, the ledger has a salted hash and the length; the
    texts stay beside it for `spool_retention_days`. `kept`: the ledger has them, for ever."""


class MetricsConfig(BaseModel):
    """Figures for Prometheus."""

    model_config = SECTION

    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """The port on 127.0.0.1 that serves `/metrics`. 0: none. Every login of the machine can read it."""


class ConsoleConfig(BaseModel):
    """Who may open the console on this machine (`airboss chat`)."""

    model_config = SECTION

    group: str = ""
    """A group of logins; its members that `people` lists as `console:HOST:LOGIN` may use it. Empty: only the
    controller's own login."""
