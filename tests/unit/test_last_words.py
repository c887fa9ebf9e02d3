"""The lines that a card shows of what a process wrote last."""

from __future__ import annotations

import pytest

from fleet.flight.last_words import last_lines


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        (b"", ""),
        (b"env: node: No such file or directory\n", "env: node: No such file or directory"),
        (b'{"type":"system"}\n\x1b[31mInvalid API key\x1b[0m\r\n\n{"half', "Invalid API key"),
        (b"one\ntwo\nthree\nfour\n", "two \u00b7 three \u00b7 four"),
        (b"half a secret" * 2_000 + b"\nwhole\n", "whole"),
        (b"MIIEvQ\n-----END PRIVATE KEY-----\nfailed\n", "failed"),
        (b"\xff\xfe\n", "\ufffd\ufffd"),
    ],
)
def test_the_last_lines_that_tell_are_one_and_hold_no_half_secret(tail: bytes, told: str) -> None:
    assert last_lines(tail) == told
