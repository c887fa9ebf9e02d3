"""What a pool in fleet.toml must say, and must not."""

from __future__ import annotations

import pytest

from fleet.config import ConfigProblems, parse_fleet

SLURM = 'provider = "slurm"\n'
COMMAND = 'provider = "command"\nacquire = ["a"]\nrelease = ["r"]\n'


def found(pool: str, isolation: str = "unsafe-same-user") -> str:
    text = f'isolation = "{isolation}"\n[pools.big]\n{pool}'
    try:
        parse_fleet(text, "fleet.toml", login="airboss")
    except ConfigProblems as problems:
        return str(problems)
    return ""


@pytest.mark.parametrize(
    ("pool", "isolation", "what"),
    [
        (COMMAND, "separate-logins", ""),
        (SLURM, "unsafe-same-user", ""),
        (SLURM + 'run_as = "agents"\noptions = ["--time=8:00:00"]', "separate-logins", ""),
        ('provider = "command"', "unsafe-same-user", "pools.big.acquire is missing"),
        (COMMAND + 'run_as = "agents"', "unsafe-same-user", "is for the provider 'slurm'"),
        (SLURM + 'acquire = ["a"]', "unsafe-same-user", "is for the provider 'command'"),
        (SLURM, "separate-logins", "is no login of the agents' own"),
        (SLURM + 'run_as = "airboss"', "separate-logins", "is no login of the agents' own"),
        (SLURM + 'run_as = "root"', "separate-logins", "is no login of the agents' own"),
        (SLURM + 'options = ["--wrap", "rm -rf ~"]', "unsafe-same-user", "options"),
        (COMMAND + 'price = "-1"', "unsafe-same-user", "is no amount of money"),
        (COMMAND + "most = 0", "unsafe-same-user", "most"),
        (COMMAND + '[machines.big-7]\nexecutor = "local"', "unsafe-same-user", "could be a slot of pool big"),
        (COMMAND + '[machines.big]\nexecutor = "local"', "unsafe-same-user", "could be a slot of pool big"),
        (COMMAND + '[machines.big-iron]\nexecutor = "local"', "unsafe-same-user", ""),
    ],
)
def test_each_provider_needs_its_own_and_no_more(pool: str, isolation: str, what: str) -> None:
    said = found(pool, isolation)
    assert (what in said) if what else not said, said
