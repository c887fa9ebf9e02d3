"""``[reviewers.NAME]`` of ``fleet.toml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from fleet.config.limits import SECTION
from fleet.config.values import DIGEST_PATTERN, Duration, EndpointUrl, ModelName, Name, Variable, duration_us


class ReviewerConfig(BaseModel):
    """A model that reviews changes: any endpoint that speaks OpenAI's protocol (Ollama, llama.cpp, vLLM, …), or an
    agent of this file."""

    model_config = SECTION

    url: EndpointUrl | Literal[""] = ""
    """The endpoint's address, up to and including `/v1`. Either this or `agent`."""
    agent: Name | Literal[""] = ""
    """An agent of `[agents]` that reviews, for reading only, in a checkout of its own."""
    machine: Name | Literal[""] = ""
    """With `agent`: the machine where it runs, as the agents' login."""
    model: ModelName
    """The model to ask for. Its family must be known by its name, and must not be the author's."""
    key: Variable | Literal[""] = ""
    """The name of a variable in `.env` with the key. Sent to https addresses and to this machine only."""
    digest: Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)] = ""
    """The model's digest, which `airboss review try` prints where the endpoint has one (Ollama). Empty: the model
    is known by the endpoint's word only."""
    timeout: Duration = "5m"
    """How long an answer may take."""
    diff_bytes: Annotated[int, Field(ge=1_000, le=2_000_000)] = 100_000
    """The longest change that this model can read whole. A longer one gets no review."""

    @property
    def timeout_us(self) -> int:
        """``timeout`` in microseconds."""
        return duration_us(self.timeout)
