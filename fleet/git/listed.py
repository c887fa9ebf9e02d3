"""How a script on a machine reads a list of large files, and knows an object by its size and hash.

The list has one file a line: the object's SHA-256, its size in bytes, git's mode, and the path. Submodules stand in
it with their commit and its tree.
"""

from __future__ import annotations

from typing import Final

SAME: Final = r"""
sum() {
    if command -v sha256sum > /dev/null; then sha256sum; else shasum -a 256; fi < "$1" | cut -c 1-64
}
pointer() {
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %s\n' "$oid" "$size"
}
line() {
    oid=${listed%% *} rest=${listed#* }
    size=${rest%% *} rest=${rest#* }
    mode=${rest%% *} path=${rest#* }
}
same() {
    [ "$(($(wc -c < "$1")))" -eq "$size" ] && [ "$(sum "$1")" = "$oid" ]
}
"""
"""``line`` reads the variable ``listed``; ``pointer`` writes what git stores; ``same``: a file is the object."""
