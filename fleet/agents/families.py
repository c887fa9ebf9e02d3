"""The vendor family of a model, so that a reviewer of another family can be chosen."""

from __future__ import annotations

import re
from typing import Final

#: Each family, and how the words of its models' names start.
FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "anthropic": ("claude", "opus", "sonnet", "haiku", "fable", "anthropic"),
    "openai": ("gpt", "chatgpt", "codex", "o1", "o3", "o4", "openai"),
    "google": ("gemini", "gemma", "codegemma", "google"),
    "xai": ("grok",),
    "mistral": ("mistral", "mixtral", "ministral", "devstral", "codestral", "magistral", "pixtral"),
    "deepseek": ("deepseek",),
    "qwen": ("qwen", "qwq"),
    "meta": ("llama", "codellama"),
    "moonshot": ("kimi", "moonshot"),
    "zhipu": ("glm", "chatglm"),
    "microsoft": ("phi",),
    "ibm": ("granite",),
    "cohere": ("command", "aya"),
    "huggingface": ("smollm",),
    "ai2": ("olmo",),
}

_BY_DRIVER: Final = {"claude": "anthropic", "codex": "openai"}
_WORDS: Final = re.compile(r"[^a-z0-9]+")


def named(model: str) -> frozenset[str]:
    """Every family that a model's name mentions. A distilled or merged model may mention two.

    Only the last part of a path counts: those before it name who serves the model.
    """
    words = _WORDS.split(model.lower().replace("\\", "/").rstrip("/").rpartition("/")[2])
    return frozenset(
        vendor for vendor, beginnings in FAMILIES.items() if any(word.startswith(beginnings) for word in words)
    )


def family(driver: str, model: str = "") -> str:
    """The model's vendor family; without a model, the driver's own vendor; empty when unknown or not clear.

    A model's name counts more than its driver: either agent can be configured for another vendor's model. An agent
    with an empty family never counts as independent of another.
    """
    if not model:
        return _BY_DRIVER.get(driver, "")
    found = named(model)
    return next(iter(found)) if len(found) == 1 else ""
