"""A vendor's login file in a directory of its own: a bound file cannot be replaced by a rename."""

from __future__ import annotations

import fcntl
import os

FOLDER = ".airboss-login"


def gather(path: str) -> str:
    """Moves the file into a directory beside it, once, and leaves a link in its place; returns that directory.

    Nothing is copied. Whoever follows the link when it renews the login, renews it for all. Empty: no such file.
    """
    place, name = os.path.join(os.path.dirname(path), FOLDER), os.path.basename(path)
    if not os.path.isfile(path):
        return ""
    os.makedirs(place, 0o700, exist_ok=True)
    lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.islink(path):
            return place if os.path.realpath(path) == os.path.realpath(os.path.join(place, name)) else ""
        kept, link = os.path.join(place, name), os.path.join(place, name + ".link")
        for left in (kept, link):  # by an earlier version of the file, or a power cut
            if os.path.lexists(left):
                os.unlink(left)
        os.link(path, kept)
        os.symlink(os.path.join(FOLDER, name), link)
        os.rename(link, path)
    finally:
        os.close(lock)
    return place
