"""The text of a configuration file as people's editors save it: with a byte order mark, in UTF-16, with CRLF."""

from __future__ import annotations

import codecs

#: UTF-32's marks begin with UTF-16's, so they come first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decoded(data: bytes) -> str:
    """The text without its mark; UTF-8 when it has none. Raises ``UnicodeDecodeError``. Line ends stay."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding)
    return data.decode()
