"""The JSON Schemas of ``fleet.toml`` and ``airboss.toml``: ``python -m fleet.config.schema`` writes them.

A key's description is the text below it in its class. It is read here alone: pydantic can do that too, but at each
start of each program.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fleet.config.models import FleetConfig, RepoFile


def schemas() -> dict[str, str]:
    """Each schema's file name and text."""
    return {
        f"{name}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **_described(model)},
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
        for name, model in (("fleet", FleetConfig), ("airboss", RepoFile))
    }


def _described(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    models = {each.__name__: each for each in _subclasses(BaseModel) if each.__module__.startswith("fleet.config.")}
    parts: dict[str, dict[str, Any]] = {model.__name__: schema, **schema["$defs"]}
    for name in parts.keys() & models.keys():
        for key, text in _texts(models[name]).items():
            found = parts[name]["properties"][key]
            if text != parts.get(found.get("$ref", "").rpartition("/")[2], {}).get("description"):
                parts[name]["properties"][key] = dict(sorted({**found, "description": text}.items()))
    return schema


def _subclasses(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in of.__subclasses__():
        yield each
        yield from _subclasses(each)


def _texts(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each key, in this class and those that it is made from."""
    texts: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
            assert isinstance(parsed, ast.ClassDef)
            for key, below in zip(parsed.body, parsed.body[1:], strict=False):
                if (
                    isinstance(key, ast.AnnAssign)
                    and isinstance(key.target, ast.Name)
                    and isinstance(below, ast.Expr)
                    and isinstance(below.value, ast.Constant)
                    and isinstance(below.value.value, str)
                ):
                    texts[key.target.id] = inspect.cleandoc(below.value.value)
    return texts


def main(directory: str = "docs/schema") -> None:
    """Writes the schemas into ``directory``."""
    for name, text in schemas().items():
        Path(directory, name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
