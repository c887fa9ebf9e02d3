"""``[repos.NAME] files``: what the operator puts into workspaces, and never lands."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator

from fleet.config.limits import SECTION
from fleet.config.values import Provided, Variable, wrong


class FileConfig(BaseModel):
    """A file for the agent's workspace."""

    model_config = SECTION

    text: Annotated[str, StringConstraints(max_length=1 << 20)] | None = None
    """Its content."""
    secret: Annotated[Variable | None, Field(validate_default=True)] = None
    """Instead of `text`: the name of a variable in `.env` with the content."""

    @field_validator("secret")
    @classmethod
    def _one_of_them(cls, secret: str | None, info: ValidationInfo) -> str | None:
        if (secret is None) is (info.data.get("text") is None):
            raise wrong("needs `text` or `secret`, not both", "give the content itself, or a variable of .env")
        return secret


def _as_table(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


RepoFiles = dict[
    Provided, Annotated[FileConfig, BeforeValidator(_as_table, json_schema_input_type=str | FileConfig)]
]
