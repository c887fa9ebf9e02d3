"""What fleet.toml may say of a key that an agent does not hold."""

from __future__ import annotations

import pytest

from tests.unit.test_config import problems


@pytest.mark.parametrize(
    ("agent", "field", "words"),
    [
        ('driver = "command"\nprogram = ["a"]\nkey = "K"', "key", "cannot be used with driver 'command'"),
        ('driver = "claude"\nprogram = ["a"]\nkey = "K"\nenv = ["K"]', "env", "gives the agent K"),
        ('driver = "claude"\nprogram = ["a"]\napi = "https://a.example"', "api", "there is no `key`"),
        (
            'driver = "claude"\nprogram = ["a"]\nkey = "K"\napi = "http://a.example"',
            "api",
            "over the network unencrypted",
        ),
        ('driver = "claude"\nprogram = ["a"]\negress = ["https://a.example/"]', "egress", ""),
    ],
)
def test_a_key_stays_out_of_the_agents_reach(agent: str, field: str, words: str) -> None:
    (told,) = problems(f'isolation = "unsafe-same-user"\n[agents.a]\n{agent}\n')
    assert f"agents.a.{field}" in told and words in told
