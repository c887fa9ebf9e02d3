"""``airboss witness``: a witness for other people's ledgers, until it is stopped. It needs no home and no fleet."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
from pathlib import Path
from typing import Final

from fleet.errors import Misused
from gates.receipts.note import KeyType, NoteKey
from gates.witness.server import Witness, WitnessServer

_ADDRESS: Final = re.compile(r"(?P<host>[^\s/:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_NAME: Final = re.compile(r"[^\s+]{1,100}")


def run(options: argparse.Namespace) -> int:
    """Serves. Raises ``Misused`` for a wrong name, address or log, ``Unavailable`` when it cannot listen."""
    address = _ADDRESS.fullmatch(options.listen)
    if address is None or int(address["port"]) > 65_535:
        raise _wrong(options.listen, "it is not HOST:PORT", "airboss witness DIR --listen 127.0.0.1:8099")
    if not _NAME.fullmatch(options.name):
        raise _wrong(options.name, "a name has no spaces and no +", "--name witness.example.com/ada")
    witness = Witness(options.name, Path(options.directory).absolute())
    for line in options.log:
        witness.learn(NoteKey.parse(line))
    if any(key.type is not KeyType.LOG for key in witness.logs()):
        raise _wrong(
            options.directory, "a line of its `logs` is a witness's key", "airboss keys publish names the log's"
        )
    return asyncio.run(_serve(witness, address["host"].strip("[]"), int(address["port"])))


async def _serve(witness: Witness, host: str, port: int) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = WitnessServer(witness, host, port)
    await server.start()
    try:
        sys.stdout.write(
            f"Listening on http://{host}:{server.port} for {len(witness.logs())} logs. Who trusts it writes:\n\n"
            f'[witnesses.NAME]\nurl = "http://{host}:{server.port}"\nkey = "{witness.key.line}"\n'
        )
        sys.stdout.flush()
        await stopped.wait()
    finally:
        await server.close()
    return 0


def _wrong(on: str, cause: str, hint: str) -> Misused:
    return Misused(attempted="start a witness", on=on, cause=cause, hint=hint)
