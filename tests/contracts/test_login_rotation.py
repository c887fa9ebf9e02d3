"""Two slots of one login against a vendor that rotates refresh tokens: neither is logged out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.exits import Exited
from fleet.ports import PipeSpec
from tests.conftest import sampled
from tests.contracts.executor_logins import Life, follow, opened, pipe_spec, run_pipe
from tests.contracts.test_executor_sessions import Site, site_of
from tests.far_end import agents
from tests.far_end.responses_model import ResponsesModel
from tests.far_end.scripted_model import Answer, Asking, Refusal, call, say
from tests.far_end.tokens import TokenEndpoint, jwt, token_endpoint

#: What Claude Code does to renew its login, as seen: a lock beside the file, a new file renamed over the old one,
#: and a copy where that is refused.
RENEW = """
import errno, json, os, shutil, sys, time, urllib.request
url, vault, times = sys.argv[1], os.environ["CLAUDE_SECURESTORAGE_CONFIG_DIR"], int(sys.argv[2])
path = os.path.expanduser("~/.claude/.credentials.json")
for _ in range(times):
    while True:
        try:
            os.mkdir(vault + "/.oauth_refresh.lock")
            break
        except FileExistsError:
            time.sleep(0.002)
    try:
        body = json.dumps({"refresh_token": json.load(open(path))["refresh_token"]}).encode()
        tokens = urllib.request.urlopen(urllib.request.Request(url, body)).read()
        with open(path + ".new", "wb") as file:
            file.write(tokens)
        try:
            os.rename(path + ".new", path)
        except OSError as error:
            assert error.errno == errno.EBUSY, error
            shutil.copyfile(path + ".new", path)
    finally:
        os.rmdir(vault + "/.oauth_refresh.lock")
"""

CODEX = """\
model = "scripted"
model_provider = "loop"
[model_providers.loop]
name = "loop"
base_url = "{url}/v1"
wire_api = "responses"
requires_openai_auth = true
request_max_retries = 0
stream_max_retries = 0
"""


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened("local") as login:
        yield await site_of(login.executor())


async def claude_code(site: Site) -> None:
    """Its way of renewal, from two sessions at once."""
    with token_endpoint() as vendor:
        path = f"{site.home}/.claude/.credentials.json"
        await site.executor.write_file(path, json.dumps({"refresh_token": vendor.refresh}).encode())

        async def renew(name: str) -> Life:
            env = {"HOME": site.home, "CLAUDE_SECURESTORAGE_CONFIG_DIR": f"{site.root}/login/claude"}
            return await run_pipe(
                site.executor,
                pipe_spec(
                    "/usr/bin/python3", "-c", RENEW, vendor.url, "5", merge=True, contain=True,
                    env=env, cwd=f"{site.root}/work/{name}", walls=site.session(name),
                ),
            )  # fmt: skip

        lives = await asyncio.gather(renew("one"), renew("two"))
        assert [life.ended.exit for life in lives] == [Exited(0)] * 2, lives
        assert (vendor.renewals, vendor.logged_out) == (10, False)
        assert json.loads(await site.executor.read_file(path, 5000))["refresh_token"] == vendor.refresh


def codex(site: Site, name: str, vendor: TokenEndpoint) -> PipeSpec:
    """A session of the real Codex."""
    program = agents.binary("codex")
    walls = site.session(name, read=(program,), vault=False)
    assert walls.session is not None
    session = replace(walls.session, linked=(f"{site.home}/.codex/auth.json",), logins=(), others=())
    command = (program, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", f"as {name}")
    return pipe_spec(
        *command, merge=True, contain=True, cwd=f"{site.root}/work/{name}",
        env={"HOME": site.home, "CODEX_REFRESH_TOKEN_URL_OVERRIDE": vendor.url},
        walls=replace(walls, session=session),
    )  # fmt: skip


async def real_codex(site: Site) -> None:
    """Its session two has read the old login before its session one renews it."""
    with token_endpoint() as vendor, ResponsesModel() as model:
        tokens = {
            "id_token": jwt(0),
            "access_token": jwt(0),
            "refresh_token": vendor.refresh,
            "account_id": "account",
        }
        auth = {"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "2099-01-01T00:00:00Z"}
        await site.executor.write_file(f"{site.home}/.codex/auth.json", json.dumps(auth).encode())
        await site.executor.write_file(f"{site.home}/.codex/config.toml", CODEX.format(url=model.url).encode())
        go = Path(site.root) / "work" / "two" / "go"
        waiting = asyncio.Event()
        loop = asyncio.get_running_loop()

        def script(asking: Asking) -> Answer:
            if "as two" in asking.heard and asking.step == 0:
                loop.call_soon_threadsafe(waiting.set)
                return call("exec_command", cmd=f"until [ -e {go} ]; do sleep 0.05; done")
            return say("done") if asking.key == jwt(1) else Refusal(401, "token expired")

        model.script(script)
        two = codex(site, "two", vendor)
        await site.executor.start(two)
        async with asyncio.timeout(60):
            await waiting.wait()
        await run_pipe(site.executor, codex(site, "one", vendor))
        assert (vendor.renewals, vendor.logged_out) == (1, False)
        go.touch()
        await follow(site.executor, two.id)
    assert (vendor.renewals, vendor.logged_out) == (1, False), "session two has taken up the renewed login"
    assert any("as two" in asking.heard and asking.step == 1 for asking in model.asked), "it was refused once"


@pytest.mark.parametrize("play", sampled([claude_code, real_codex], 1))
async def test_neither_of_two_sessions_is_logged_out(site: Site, play: Callable[[Site], Awaitable[None]]) -> None:
    await play(site)
