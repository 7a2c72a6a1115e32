"""prft boxes as FFmpeg and others write them, and as damage leaves them."""

import io
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.stream.source.clocks.fragments import Fragment, FragmentReader, Reference, unix_of_ntp
from tests.support.fragmented import NTP_1970, START, TIMESCALE, box, fragment, moof, prft, write_clip

HEAD = box(b"ftyp", b"iso5", bytes(4))


def read(data: bytes, track: int = 1) -> tuple[list[Fragment], int]:
    """The fragments, and how many prft boxes were damaged."""
    reader = FragmentReader(io.BytesIO(data), track)
    return list(reader), reader.damaged


def references(data: bytes, track: int = 1) -> list[Reference]:
    return [found.reference for found in read(data, track)[0] if found.reference]


@pytest.mark.parametrize("version", [0, 1])
def test_both_versions_of_the_box_say_when_their_fragment_begins(version: int) -> None:
    media_time = 7000 if version == 0 else 1 << 40
    data = HEAD + prft(START, media_time, version=version) + moof(5000, offset=-1000) + box(b"mdat", b"x")
    assert read(data) == ([Fragment(data.index(b"moof") - 4, 4000, Reference(media_time, START))], 0)


@pytest.mark.parametrize("fields", [0x000, 0x001, 0x005, 0x301, 0xF05 & ~0x800])
def test_the_first_samples_offset_is_found_behind_whatever_comes_before_it(fields: int) -> None:
    ((found,), _) = read(HEAD + moof(90_000, offset=1234, fields=fields))
    assert found.first == 91_234


def test_the_track_is_told_from_others() -> None:
    data = HEAD + prft(START, 5, track=2) + prft(START + 1, 7) + moof(0, track=2) + moof(9) + prft(START + 2, 11)
    data += moof(3, track=2)
    assert [(found.first, found.reference) for found in read(data)[0]] == [(9, Reference(7, START + 1))]
    assert references(data, track=2) == [Reference(5, START)]
    assert read(data, track=3) == ([], 0)


def test_the_first_fragment_is_told_of_even_where_only_later_ones_are_dated() -> None:
    data = HEAD + moof(0) + moof(1) + prft(START, 2) + moof(2)
    assert [(found.first, found.reference) for found in read(data)[0]] == [(0, None), (2, Reference(2, START))]


@pytest.mark.parametrize("version", [0, 1])
def test_an_index_says_where_its_track_begins(version: int) -> None:
    def index(track: int, start: int, *, units: int = 1000, most: int = 32) -> bytes:
        content = struct.pack(">B3xII", version, track, units) + start.to_bytes(8 if version else 4) + bytes(12)
        return box(b"sidx", content[:most])

    for data, start_s in (
        (index(2, 7000) + index(1, 5500) + index(1, 9000), 5.5),
        (index(1, 5500, units=0), 0.0),
        (index(1, 5500, most=15), 0.0),
    ):
        reader = FragmentReader(io.BytesIO(HEAD + data + moof(0)), 1)
        list(reader)
        assert reader.index_start_s == start_s


@pytest.mark.parametrize(
    ("seconds", "unix_s"),
    [
        (NTP_1970, 0.0),
        (2**31, 2**31 - NTP_1970),  # the oldest: January 1968
        (2**32 - 1, 2_085_978_495.0),  # 2036-02-07 06:28:15 UTC
        (0, 2_085_978_496.0),
        (3_000, 2_085_981_496.0),
    ],
)
def test_stamps_go_on_when_the_era_of_ntp_ends(seconds: int, unix_s: float) -> None:
    assert unix_of_ntp(seconds << 32) == unix_s
    assert unix_of_ntp(seconds << 32 | 1 << 31) == unix_s + 0.5


def test_a_clock_that_does_not_show_the_time_of_day_says_nothing() -> None:
    unset, arbitrary = prft(0, 5, ntp=0), prft(START, 5, flags=8)
    assert references(HEAD + unset + moof(0) + arbitrary + moof(1)) == []
    for flags in (0, 1, 2, 4, 24):
        assert references(HEAD + prft(START, 5, flags=flags) + moof(0)) == [Reference(5, START)]


def test_damaged_boxes_are_counted_and_passed_over() -> None:
    short, strange, empty = box(b"prft", bytes(15)), prft(START, 5, version=2), box(b"prft")
    cut = box(b"prft", prft(START, 5)[8:28])  # of version 1, and as long as version 0
    data = HEAD + short + strange + empty + cut + moof(0) + prft(START, 7) + moof(1)
    assert read(data)[1] == 4
    assert references(data) == [Reference(7, START)]


@pytest.mark.parametrize("size", [0, 2, 7, 1 << 31])
def test_nothing_is_read_beyond_a_box_whose_size_cannot_be_right(size: int) -> None:
    sound = HEAD + prft(START, 5) + moof(0)
    damaged = sound + struct.pack(">I4s", size, b"mdat") + prft(START, 7) + moof(1)
    assert references(damaged) == [Reference(5, START)]


def test_sizes_beyond_four_gigabytes_are_stepped_over(tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.write(HEAD + prft(START, 5) + moof(0) + struct.pack(">I4sQ", 1, b"mdat", 5 << 30))
        file.seek((5 << 30) - 16, 1)  # a hole
        file.write(prft(START + 9, 7) + moof(1))
    with large.open("rb") as file:
        assert [found.reference for found in FragmentReader(file, 1)] == [Reference(5, START), Reference(7, START + 9)]


def test_a_file_without_such_boxes_is_not_read_to_its_end() -> None:
    ordinary = HEAD + moof(0) + 2000 * (moof(1) + box(b"mdat", b"x"))
    assert references(ordinary + prft(START, 5) + moof(2)) == []


def test_what_is_read_of_hostile_files_is_bounded() -> None:
    for boxes in (box(b"prft") * 100_000, prft(START, 5) * 10_000, box(b"moof", box(b"free") * 100_000) * 3):
        file = CountedReads(HEAD + boxes)
        assert list(FragmentReader(file, 1)) == []
        assert file.reads < 2000


class CountedReads(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(size)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_no_damage_is_a_failure(seed: int, changes: int) -> None:
    dice = random.Random(seed)
    data = bytearray(
        HEAD + b"".join(prft(START + n, n, version=n % 2) + moof(n) + box(b"mdat", b"x") for n in range(9))
    )
    for _ in range(changes):
        data[dice.randrange(len(data))] = dice.randrange(256)
    found, damaged = read(bytes(data[: dice.randrange(len(data))]))
    assert len(found) + damaged <= 10


def test_a_file_that_shrinks_while_it_is_read_ends_there() -> None:
    file = io.BytesIO(HEAD + prft(START, 5) + moof(0) + prft(START, 7) + moof(1))
    reader = iter(FragmentReader(file, 1))
    next(reader)
    file.truncate(60)
    assert list(reader) == []


@pytest.mark.parametrize(
    "movflags", ["cmaf+frag_keyframe", "frag_keyframe+empty_moov", "dash+delay_moov+frag_keyframe"]
)
@pytest.mark.parametrize("b_frames", [0, 3])
def test_what_ffmpeg_writes_is_found(movflags: str, b_frames: int, tmp_path: Path) -> None:
    path = fragment(write_clip(tmp_path / "clip.mp4", b_frames=b_frames), tmp_path / "f.mp4", movflags)
    with path.open("rb") as file:
        reader = FragmentReader(file, 1)
        found = list(reader)
    assert reader.damaged == 0
    assert [one.reference.unix_s for one in found if one.reference] == pytest.approx([START + n for n in range(4)])
    firsts = [one.first for one in found if one.first is not None]
    assert [first - firsts[0] for first in firsts] == [n * TIMESCALE for n in range(4)]
