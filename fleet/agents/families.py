"""Which vendor's family an agent's model is of, so that a reviewer of another family can be chosen."""

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
    """The vendor family of the model; of the driver's own vendor where no model is named; empty when unknown.

    A model's name counts more than its driver: either agent can be pointed at another vendor's model. An
    agent of an empty family is never taken to be independent of another.
    """
    name = model.lower().rsplit("/", 1)[-1]
    for beginnings, vendor in _BY_MODEL:
        if name.startswith(beginnings):
            return vendor
    return "" if model else _BY_DRIVER.get(driver, "")
