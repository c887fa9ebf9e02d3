"""An export of 65,000 events: ``airboss verify`` beside parsing and hashing its lines, and the forty lines of
``docs/verify_bundle.py`` beside the standard library's parse."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import msgspec

from gates.receipts import bundle_check, sshsig
from tests.bench.harness import compare, report, timed
from tests.unit.test_bundle import KEY, VERIFIER, exported, work

EVENTS = 65_000
_EMPTY = "import base64, collections, datetime, functools, hashlib, json, subprocess, sys, tempfile, zoneinfo\n"
_PARSE = f"{_EMPTY}for line in open(sys.argv[1], 'rb'): json.loads(line)"


def plain(lines: Path) -> None:
    with lines.open("rb") as file:
        for line in file:
            msgspec.json.decode(line)
            sha256(b"\0" + line[:-1]).digest()


def run(*command: str) -> None:
    subprocess.run([sys.executable, "-I", *command], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    with tempfile.TemporaryDirectory() as where:
        file, keys = Path(where) / "export", Path(where) / "keys"
        file.write_bytes(b"".join(exported(Path(where) / "ledger", work(EVENTS, 60_000_000))))
        pin = sshsig.public_of(KEY)
        keys.write_text(sshsig.allowed_signers_line(pin))
        ours = compare(
            f"an export's check, {EVENTS} events",
            ("airboss verify", timed(lambda: bundle_check.check(file, (pin,)))),
            ("parse and hash the lines", timed(lambda: plain(file))),
            bar=2,
        )
        forty = compare(
            f"the forty lines, {EVENTS} events",
            ("verify_bundle.py", timed(lambda: run(str(VERIFIER), str(file), str(keys)))),
            ("parse the lines", timed(lambda: run("-c", _PARSE, str(file)))),
            bar=2,
        )
    return report([ours, forty])


if __name__ == "__main__":
    sys.exit(main())
