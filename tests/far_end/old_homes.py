"""Homes of older versions, archived. ``tests/fixtures/build_home.py`` says how they were made."""

from __future__ import annotations

import tarfile
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
HOME_0002 = FIXTURES / "home_0002.tar.gz"


def unpack_home(archive: Path, directory: Path) -> None:
    """Extracts one. Python 3.11.2, which Debian 12 has, knows no extraction filters."""
    with tarfile.open(archive) as opened:
        if hasattr(tarfile, "tar_filter"):
            opened.extractall(directory, filter="tar")
        else:
            opened.extractall(directory)
