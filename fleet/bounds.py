"""What a number or a text may be that another machine sends: msgspec checks it where the text is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta

Size = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
"""A count, an offset or a position, in bytes or messages."""
Micros = Annotated[int, Meta(ge=0, le=253_402_300_799_999_999)]
"""Microseconds since the epoch, up to the end of year 9999."""
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Words = Annotated[str, Meta(max_length=4096)]
Label = Annotated[str, Meta(max_length=100)]
Says = Annotated[str, Meta(max_length=300)]
AbsolutePath = Annotated[str, Meta(max_length=4096, pattern=r"\A/[^\x00]*\Z")]
Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Uid = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Version = Annotated[str, Meta(max_length=32, pattern=r"\A\d+\.\d+\.\d+\Z")]
Cpus = Annotated[int, Meta(ge=1, le=1 << 20)]
Load = Annotated[int, Meta(ge=0, le=1 << 40)]
Programs = Annotated[Mapping[Label, Says], Meta(max_length=100)]
Simulators = Annotated[Sequence[tuple[Label, Says]], Meta(max_length=200)]
