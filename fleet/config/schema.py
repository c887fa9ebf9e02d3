"""The JSON Schemas of ``fleet.toml`` and ``airboss.toml``: ``python -m fleet.config.schema`` writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fleet.config.models import FleetConfig, RepoFile


def schemas() -> dict[str, str]:
    """Each schema's file name and text."""
    return {
        f"{name}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()},
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
        for name, model in (("fleet", FleetConfig), ("airboss", RepoFile))
    }


def main(directory: str = "docs/schema") -> None:
    """Writes the schemas into ``directory``."""
    for name, text in schemas().items():
        Path(directory, name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
