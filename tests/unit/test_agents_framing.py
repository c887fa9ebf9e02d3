"""Lines out of chunks: the same for every chunking, from every line's end, in bounded memory."""

from __future__ import annotations

import itertools
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from fleet.agents.framing import Line, LineFramer, Oversized

SPOOLS = st.lists(st.sampled_from([b"\n", b"a", b"\xff\xfe", b'{"k":1}', b"123456789"]), max_size=40).map(b"".join)


def frame(data: bytes, cuts: list[int], cap: int = 8, offset: int = 0) -> list[Line | Oversized]:
    framer = LineFramer(cap, offset)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found = [line for a, b in itertools.pairwise(edges) for line in framer.feed(data[a:b])]
    rest = framer.rest()
    return [*found, rest] if rest else found


@given(SPOOLS, st.lists(st.integers(0, 200)))
def test_any_chunking_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    assert frame(data, cuts) == frame(data, [])


@given(SPOOLS)
def test_the_lines_are_those_of_the_spool_with_their_offsets(data: bytes) -> None:
    at = 0
    for found in frame(data, []):
        size = len(found.data) if isinstance(found, Line) else found.size
        assert (size > 8) == isinstance(found, Oversized)
        if isinstance(found, Line):
            assert data[at : at + size] == found.data
        assert data[at + size : found.end] in (b"\n", b"")
        at = found.end
    assert at == len(data)


@given(SPOOLS, st.lists(st.integers(0, 200)), st.data())
def test_reading_goes_on_from_any_lines_end(data: bytes, cuts: list[int], pick: st.DataObject) -> None:
    whole = frame(data, [])
    done = pick.draw(st.integers(0, len(whole)))
    at = whole[done - 1].end if done else 0
    assert frame(data[at:], cuts, offset=at) == whole[done:]


def test_a_hundred_megabytes_on_one_line_are_counted_and_not_kept() -> None:
    framer, size = LineFramer(1 << 20), 1 << 20
    tracemalloc.start()
    for _ in range(100):
        assert list(framer.feed(bytes(b"x" * size))) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert list(framer.feed(b"\nnext\n")) == [Oversized(100 << 20, (100 << 20) + 1), Line(b"next", (100 << 20) + 6)]
