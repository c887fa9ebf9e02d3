"""How an agent is told to ask a proxy instead of its vendor: by variables, or by arguments. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fleet.isolation import PROXY_PORT

URL: Final = f"http://127.0.0.1:{PROXY_PORT}"
_CODEX_TOKEN: Final = "AIRBOSS_PROXY_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True)
class VendorEndpoint:
    """A vendor's usual address, the header for its key, and how an agent of this driver finds a proxy.

    ``token_variable`` gets the token that the proxy takes in place of the key.
    """

    api: str
    header: str
    token_variable: str
    env: Mapping[str, str]
    arguments: tuple[str, ...] = ()


def _provider(**fields: str) -> tuple[str, ...]:
    """Arguments that add a provider to Codex's table and choose it. They hold no secret: all may read them."""
    words = [f'model_providers.airboss.{name}="{value}"' for name, value in fields.items()]
    return tuple(word for each in ('model_provider="airboss"', *words) for word in ("-c", each))


#: By driver. A driver that is not here cannot use a proxy for its key.
ENDPOINTS: Final = {
    "claude": VendorEndpoint(
        "https://api.anthropic.com", "x-api-key", "ANTHROPIC_API_KEY", {"ANTHROPIC_BASE_URL": URL}
    ),
    "codex": VendorEndpoint(
        "https://api.openai.com/v1",
        "authorization",
        _CODEX_TOKEN,
        {},
        _provider(name="airboss", base_url=URL, wire_api="responses", env_key=_CODEX_TOKEN),
    ),
}


def ways_out(token: str) -> dict[str, str]:
    """The environment by which programs find a proxy for everything else."""
    proxy = f"http://airboss:{token}@127.0.0.1:{PROXY_PORT}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {**dict.fromkeys(names, proxy), "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
