"""The vendor family of an agent's model, so that a reviewer from another family can be chosen."""

from __future__ import annotations

_BY_DRIVER = {"claude": "anthropic", "codex": "openai"}

_BY_MODEL = (
    (("claude", "opus", "sonnet", "haiku", "fable"), "anthropic"),
    (("gpt", "codex", "o1", "o3", "o4", "chatgpt"), "openai"),
    (("gemini", "gemma"), "google"),
    (("grok",), "xai"),
    (("mistral", "devstral", "codestral", "magistral"), "mistral"),
    (("deepseek",), "deepseek"),
    (("qwen",), "alibaba"),
    (("llama",), "meta"),
    (("kimi",), "moonshot"),
    (("glm",), "zhipu"),
)


def family(driver: str, model: str = "") -> str:
    """The model's vendor family; without a model, the driver's own vendor; empty when unknown.

    A model's name counts more than its driver: either agent can be configured for another vendor's model. An agent
    with an empty family never counts as independent of another.
    """
    name = model.lower().rsplit("/", 1)[-1]
    for beginnings, vendor in _BY_MODEL:
        if name.startswith(beginnings):
            return vendor
    return "" if model else _BY_DRIVER.get(driver, "")
