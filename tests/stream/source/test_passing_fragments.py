"""The fragments of a stream whose bytes go by once, in pieces of any size."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.stream.source.fragments import Fragment, FragmentReader, PassingFragments, Reference
from tests.support.fragmented import START, box, moof, prft

HEAD = box(b"ftyp", b"iso5", bytes(4)) + box(b"moov", bytes(300))


def passing(data: bytes, size: int = 1 << 20) -> list[Fragment]:
    """The fragments of track 1, as they are found when `data` comes in pieces of so many bytes."""
    stream, found = PassingFragments(), list[Fragment]()
    for at in range(0, len(data), size):
        stream.take(data[at : at + size], float(at))
        while stream.heads:
            fragment = stream.heads.popleft().fragment(1)
            found += [] if fragment is None else [fragment]
    return found


def dated(count: int, samples: int = 40) -> bytes:
    parts = (
        prft(START + n, 7 * n, version=n % 2) + moof(9 * n) + box(b"mdat", b"moof" * samples) for n in range(count)
    )
    return HEAD + b"".join(parts)


@given(st.integers(1, 700), st.integers(0, 60))
def test_they_are_those_of_the_same_bytes_in_a_file_however_the_bytes_come(size: int, samples: int) -> None:
    data = dated(5, samples)
    expected = list(FragmentReader(io.BytesIO(data), 1))
    assert len(expected) == 5
    assert passing(data, size) == expected


def test_a_fragment_says_when_its_last_byte_before_the_samples_came() -> None:
    stream, data = PassingFragments(), dated(1)
    begin, end = data.index(b"moof") - 4, data.index(b"mdat") - 4
    for start, stop, now in ((0, end - 1, 1.0), (end - 1, end, 2.0), (end, len(data), 3.0)):
        stream.take(data[start:stop], now)
    (head,) = stream.heads
    assert (head.position, head.arrived, head.data) == (begin, 2.0, data[begin - 28 : end])


def test_boxes_belong_to_the_fragment_that_follows_them() -> None:
    data = HEAD + prft(START, 5, track=2) + prft(START + 1, 6) + moof(0) + moof(1) + prft(START + 2, 7) + moof(2)
    assert [found.reference for found in passing(data)] == [Reference(6, START + 1), None, Reference(7, START + 2)]


@pytest.mark.parametrize("size", [0, 2, 7])
def test_nothing_is_taken_beyond_a_box_whose_size_cannot_be_right(size: int) -> None:
    for kind in (b"mdat", b"prft", b"moof"):
        damaged = dated(1) + struct.pack(">I4s", size, kind) + prft(START, 7) + moof(1)
        assert len(passing(damaged, 11)) == 1


def test_large_boxes_are_passed_without_being_kept() -> None:
    before, after = dated(1), prft(START + 9, 7) + moof(90)
    stream, megabyte = PassingFragments(), bytes(1 << 20)
    stream.take(before + struct.pack(">I4sQ", 1, b"mdat", 16 + (5 << 30)), 0.0)
    for _ in range(5 << 10):
        stream.take(megabyte, 0.0)
    stream.take(after, 0.0)
    positions = [before.index(b"moof") - 4, len(before) + 16 + (5 << 30) + 32]
    assert [head.position for head in stream.heads] == positions
    stream.take(struct.pack(">I4s", 1 << 20, b"moof") + bytes((1 << 20) - 8) + prft(START, 1) + moof(3), 0.0)
    assert len(stream.heads) == 3  # a moof of a megabyte is none
    assert all(len(head.data) < 200 for head in stream.heads)


def test_what_is_kept_of_hostile_streams_is_bounded() -> None:
    stream = PassingFragments()
    stream.take(HEAD + prft(START, 5) * 10_000 + moof(0) * 10_000, 0.0)
    assert len(stream.heads) == 64
    assert sum(len(head.data) for head in stream.heads) < 20_000
    (first, *_) = passing(HEAD + prft(START, 5) * 10_000 + moof(0))
    assert first.reference == Reference(5, START)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_are_a_failure(data: bytes, size: int) -> None:
    passing(data, size)
    passing(dated(1) + data + dated(1), size)


@pytest.mark.parametrize("size", [3, 1000])
def test_a_stream_says_at_its_beginning_whether_fragments_follow(size: int) -> None:
    tracks = box(b"mvhd", bytes(100)) + box(b"trak", b"mvex" * 100)
    for parts, announced in ((tracks, False), (tracks + box(b"mvex", bytes(32)), True)):
        stream, data = PassingFragments(), box(b"ftyp", b"iso5") + box(b"moov", parts) + box(b"mdat", bytes(50))
        for at in range(0, len(data), size):
            stream.take(data[at : at + size], 0.0)
        assert stream.announced is announced
