"""``[speech]``: what writes down voice messages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from fleet.config.limits import SECTION
from fleet.config.values import (
    ANY_MODEL_PATTERN,
    LANGUAGE_PATTERN,
    Duration,
    EndpointUrl,
    SpeechArgv,
    Variable,
    duration_us,
)


class SpeechConfig(BaseModel):
    """What turns a voice message into text: a command on the controller's machine, or an endpoint."""

    model_config = SECTION

    command: SpeechArgv | None = None
    """A program and its arguments. It gets the audio file in place of `{audio}`, or on standard input, and prints
    the words. It runs as the controller's login, without its environment."""
    url: EndpointUrl | Literal[""] = ""
    """Instead of a command: an endpoint that speaks OpenAI's protocol, its address up to and including `/v1`."""
    model: Annotated[str, StringConstraints(max_length=200, pattern=ANY_MODEL_PATTERN)] = ""
    """url only: the model to ask for."""
    key: Variable | Literal[""] = ""
    """url only: the name of a variable in `.env` with the key. Sent to https addresses and to this machine only."""
    language: Annotated[str, StringConstraints(pattern=LANGUAGE_PATTERN)] = ""
    """url only: the language that people speak, for example `de`. Empty: the model finds out."""
    timeout: Duration = "2m"
    """How long it may take."""
    longest: Duration = "5m"
    """The longest voice message that is taken."""
    megabytes: Annotated[int, Field(ge=1, le=50)] = 20
    """The largest file that is taken. Telegram gives bots 20 MB at most."""

    @property
    def set_up(self) -> bool:
        """Whether there is something that can write voice messages down."""
        return self.command is not None or bool(self.url)

    @property
    def timeout_s(self) -> float:
        """``timeout`` in seconds."""
        return duration_us(self.timeout) / 1_000_000

    @property
    def longest_s(self) -> int:
        """``longest`` in seconds."""
        return duration_us(self.longest) // 1_000_000
