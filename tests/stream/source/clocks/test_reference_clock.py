"""When a fragmented recording was taken, by its prft boxes: which packet they are about, and when they are not believed."""

from collections.abc import Sequence

import pytest

from afterview.stream.source.clocks.fragments import Reference
from tests.support.fragmented import START, box, clock_of, fragments, moof, prft


def learnt(data: bytes, packets: Sequence[tuple[int, int]]) -> list[tuple[int, float] | None]:
    """What the frames of each of these packets teach: (number of the fragment that it begins, presentation time) each."""
    clock, positions = clock_of(data), [at for at in range(len(data)) if data[at : at + 4] == b"moof"]
    taught = []
    for number, pts in packets:
        clock.passed(positions[number] + 50, pts)
        taught.append(clock.due(pts))
    return [None if one is None else (one.media_time, one.unix_s) for one in taught]


def steady(count: int) -> list[tuple[float, int, int]]:
    """A reference at the first frame of each fragment, a second long, in thousandths."""
    return [(START + n, 1000 * n, 1000 * n) for n in range(count)]


def test_a_reference_is_put_to_the_packet_that_its_fragment_begins_with_wherever_edit_lists_shift_it() -> None:
    for shift in (0, 200, -200):
        packets = [(n, 1000 * n + shift) for n in range(3)]
        assert learnt(fragments(steady(3)), packets) == [(1000 * n + shift, START + n) for n in range(3)]


def test_only_the_first_packet_of_a_fragment_teaches_once_a_frame_of_it_is_shown() -> None:
    data = fragments(steady(3))
    clock, second = clock_of(data), data.index(b"moof", data.index(b"moof") + 4)
    clock.passed(None, 0)
    clock.passed(20, 0)  # before the first fragment
    assert clock.due(0) is None
    clock.passed(second - 50, 100)
    assert clock.due(0) == Reference(100, START)  # there is no earlier one
    clock.passed(second - 40, 500)
    assert clock.due(500) is None
    clock.passed(second + 50, 1100)
    clock.passed(second + 60, 1140)
    assert clock.due(1060) is None  # it was in the decoder
    assert clock.due(1100) == Reference(1100, START + 1)
    assert clock.due(1140) is None


@pytest.mark.parametrize("origin", [-200, 500, 1_700_000_000_250])
def test_media_times_of_another_origin_are_those_of_first_frames(origin: int) -> None:
    """FFmpeg's muxer writes packet times, while its fragments count from the first decoding time."""
    data = fragments([(START + n, 1000 * n + origin, 1000 * n) for n in range(3)])
    assert learnt(data, [(0, 0), (1, 1000)]) == [(0, START), (1000, START + 1)]


def test_media_times_anywhere_in_their_fragments_are_those_of_the_frames_they_name() -> None:
    within = [0, 400, 960]
    data = fragments([(START + n + within[n] / 1000, 1000 * n + within[n], 1000 * n) for n in range(3)])
    assert learnt(data, [(n, 1000 * n) for n in range(3)]) == [
        (1000 * n + within[n], START + n + within[n] / 1000) for n in range(3)
    ]


def test_what_comes_before_the_first_reference_is_dated_by_it() -> None:
    undated = box(b"ftyp", bytes(8)) + moof(0) + box(b"mdat", b"x") + moof(1000) + box(b"mdat", b"x")
    data = undated + prft(START + 2, 2000) + moof(2000)
    assert learnt(data, [(0, 70), (1, 1070), (2, 2070)]) == [(2070, START + 2), None, (2070, START + 2)]


@pytest.mark.parametrize(
    ("references", "said"),
    [
        ([(1.25, 0, 0)], "it says 1970-01-01 00:00 UTC"),
        ([(START + 180_000, 0, 0)], "it says 2023-11-17 00:13 UTC"),
        ([(START + n * 1e-3, 1000 * n, 1000 * n) for n in range(9)], "it runs 0.001 s per second of the video"),
        ([(START + 3.0 * n, 1000 * n, 1000 * n) for n in range(9)], "it runs 3 s per second of the video"),
        ([(START - n, 1000 * n, 1000 * n) for n in range(9)], "it runs -1 s per second of the video"),
    ],
)
def test_a_clock_that_cannot_have_been_there_is_named_and_not_believed(
    references: list[tuple[float, int, int]], said: str
) -> None:
    clock = clock_of(fragments(references), now=START + 80_000)
    assert not clock.known
    assert clock.warnings() == [f"its own clock (prft) is not plausible: {said}"]


def test_small_fragments_whose_stamps_come_in_bursts_are_believed() -> None:
    stamps = [START + n // 10 * 0.4 for n in range(200)]  # ten frames at 25 per second leave the encoder at once
    assert clock_of(fragments([(stamps[n], 40 * n, 40 * n) for n in range(200)])).known


def test_a_recording_that_leaves_something_out_is_followed() -> None:
    data = fragments([(START + n + (3600 if n > 4 else 0), 1000 * n, 1000 * n) for n in range(9)])
    clock = learnt(data, [(n, 1000 * n) for n in range(9)])
    assert clock[4:6] == [(4000, START + 4), (5000, START + 3605)]


@pytest.mark.parametrize(
    ("number", "damage"),
    [(0, 3600.0), (4, 3600.0), (4, -3600.0), (4, 2.0**31), (8, 3600.0), (8, -3600.0), (8, 2.0**31)],
)  # a first fragment that was taken an hour before the rest is no wonder
def test_an_outlier_is_ignored_and_counted(number: int, damage: float) -> None:
    references = steady(9)
    references[number] = (references[number][0] + damage, *references[number][1:])
    clock = clock_of(fragments(references))
    assert clock.known
    for position in range(0, 2000, 10):
        clock.passed(position, 0)
        taught = clock.due(0)
        assert taught is None or 0 <= taught.unix_s - START < 9
    assert clock.warnings() == ["1 damaged prft box ignored"]


def test_without_references_there_is_nothing_to_say() -> None:
    clock = clock_of(box(b"ftyp", bytes(8)) + moof(0))
    clock.passed(1000, 0)
    assert (clock.known, clock.warnings(), clock.due(0)) == (False, [], None)
