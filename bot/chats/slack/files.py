"""Downloads files from Slack to the controller's disk. Our token goes to no other host."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from bot.message import Attachment
from fleet.errors import Refused, Unavailable
from fleet.file_names import fitting, started
from fleet.files import Sink, writing

LARGEST: Final = 50 * 1024 * 1024
_CHUNK: Final = 1 << 16
_ID = re.compile(r"[A-Z0-9]{1,40}")
_UNSAFE = re.compile(r"[^\w.-]+")


async def fetch(
    session: aiohttp.ClientSession, *, token: str, api: str, found: dict[str, Any], file: Attachment, into: Path
) -> Attachment:
    """Downloads the file that ``files.info`` described. A file that is already there is not downloaded again.

    Raises ``Refused`` if it is too large or stored outside Slack, ``Unavailable`` if it cannot be downloaded now.
    """
    url = str(found.get("url_private_download") or found.get("url_private") or "")
    if not _ID.fullmatch(file.source) or not _is_slacks(url, api):
        raise _refused(file, "it is not stored in Slack", "Upload it to Slack itself.")
    size = found.get("size")
    if isinstance(size, int) and size > LARGEST:
        raise _refused(
            file, f"it has {size // 1_000_000} MB; the limit is {LARGEST // 1_000_000} MB", "Send a smaller file."
        )
    place = into / file.source / fitting(started(_UNSAFE.sub("_", file.name), "._"))
    if not await asyncio.to_thread(place.exists):
        with writing("keep the file", Path(place.name)):
            await asyncio.to_thread(place.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            await _download(session, token, url, file, place)
    length = (await asyncio.to_thread(place.stat)).st_size
    return replace(file, path=str(place), size=length, source="")


def content(path: Path) -> str | bytes:
    """The file, or a text that says why there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        return f"{path.name} cannot be read on the controller: {error.strerror}"


async def _download(session: aiohttp.ClientSession, token: str, url: str, file: Attachment, place: Path) -> None:
    part = place.with_name(f".{place.name}.part")
    try:
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                raise _unavailable(file, f"Slack answered {answer.status}")
            if answer.content_type == "text/html" and file.media_type != "text/html":
                raise _unavailable(file, "Slack showed its sign-in page; the app may lack the scope files:read")
            length = 0
            with Sink(part) as out:
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    length += len(chunk)
                    if length > LARGEST:
                        raise _refused(file, "it is larger than Slack said", "Send a smaller file.")
                    await asyncio.to_thread(out.write, chunk)
        await asyncio.to_thread(part.replace, place)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _unavailable(file, f"the connection broke: {type(error).__name__}") from error
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


def _is_slacks(url: str, api: str) -> bool:
    """Whether our token may be sent there: to Slack's own hosts by TLS, or to the host of ``api``."""
    there, home = urlsplit(url), urlsplit(api)
    host = there.hostname or ""
    if there.scheme == "https" and (host == "slack.com" or host.endswith(".slack.com")):
        return True
    return (there.scheme, host) == (home.scheme, home.hostname) and not host.endswith("slack.com")


def _refused(file: Attachment, cause: str, hint: str) -> Refused:
    return Refused(attempted="download the file", on=file.name, cause=cause, hint=hint)


def _unavailable(file: Attachment, cause: str) -> Unavailable:
    return Unavailable(attempted="download the file", on=file.name, cause=cause, hint="Send it again.")
