"""The README, typed to the letter by somebody new: three logins, a machine over SSH, the real Claude Code, doctor,
a landed change, and a receipt that verifies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import FULL
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.newcomer import CHECKOUT, Guide, play, script
from tests.far_end.scripted_model import call, say

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_the_script_has_every_line_of_the_readmes_blocks() -> None:
    """What a newcomer types is the README's, but for what they must choose themselves."""
    guide = Guide.of(README)
    typed = script(guide, model="http://127.0.0.1:1", address="127.0.0.2")
    blocks = (guide.logins, guide.install, guide.machines, guide.repository, guide.gates, guide.verify)
    for line in "\n".join(blocks).replace("https://example.com/shop.git", "/tmp/shop.git").splitlines():
        assert line in typed, line
    with pytest.raises(ValueError, match="teach this class"):
        Guide.of(README.replace("```toml", "```sh", 1))


if FULL:  # make torture: it installs Airboss and pytest, and lands a change

    @pytest.mark.needs_root
    def test_a_newcomer_gets_from_the_readme_to_a_landed_change(tmp_path: Path) -> None:
        mend = call("Bash", command="sed -i 's/cents + cents/cents - cents/' pricing.py", description="mend it")
        address = f"127.77.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
        with AnthropicModel() as model:
            model.script([mend, say("Done, all tests pass.")])
            done = play(script(Guide.of(README), model=model.url, address=address), tmp_path)
        assert done.returncode == 0, done.stdout[-6_000:]
        assert "VERIFIED" in done.stdout.upper() and "NO  " not in done.stdout, done.stdout[-3_000:]
        assert 'Good "airboss-receipt-v1" signature' in done.stdout
        assert "__pycache__" not in done.stdout.partition("landed on main")[2], "what a setup made is not named"
