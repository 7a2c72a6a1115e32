"""Which packet of a live stream a prft box is about: the one that its fragment begins with, or the one that follows it."""

import random
from collections import deque
from collections.abc import Sequence

import pytest

from afterview.stream.source.fragments import FragmentHead
from afterview.stream.source.live_reference_clock import LiveReferenceClock
from tests.support.fragmented import START, moof, prft

SIZE = 1000  # bytes from one fragment to the next


def learnt(
    fragments: Sequence[tuple[float, float | None, float]], *, leads: Sequence[int] = (0,), shift: int = 200
) -> list[tuple[int, float] | None]:
    """What each fragment's first packet teaches. Of each: media time (s) of its beginning, what its clock showed, its arrival.

    In thousandths, with Unix seconds less START. leads: of the boxes' media times, fragment by fragment; shift: of the packets.
    """
    heads: deque[FragmentHead] = deque(maxlen=64)
    clock, taught = LiveReferenceClock(heads, 1, 0.001), []
    for number, (first, showed, arrived) in enumerate(fragments):
        begins, lead = round(first * 1000), leads[number % len(leads)]
        stamp = b"" if showed is None else prft(START + showed, begins + lead)
        heads.append(FragmentHead(SIZE * number, START + arrived, stamp + moof(begins)))
        assert clock.passed(None, begins + shift) is None
        taught.append(clock.passed(SIZE * number + 60, begins + shift))
        assert clock.passed(SIZE * number + 90, begins + shift + 40) is None
    return [None if one is None else (one.media_time - shift, round(one.unix_s - START, 6)) for one in taught]


def read_at_first(
    starts: Sequence[float], *, ahead: float = 0.0, delay: float = 0.05
) -> list[tuple[float, float, float]]:
    """Fragments whose clock was read when they began, and which come when they are finished."""
    return [
        (start, start + ahead, end + delay) for start, end in zip(starts, [*starts[1:], starts[-1] + 1], strict=True)
    ]


def read_when_finished(
    starts: Sequence[float], *, ahead: float = 0.0, delay: float = 0.05
) -> list[tuple[float, float, float]]:
    """Fragments whose clock was read when they were finished."""
    return [(start, end + ahead, end + delay) for start, end in zip(starts, [*starts[1:], starts[-1] + 1], strict=True)]


STEADY = [float(n) for n in range(9)]
UNEVEN = [0.0, 2.0, 2.1, 4.1, 4.5, 6.5, 8.5, 8.54, 10.5]


@pytest.mark.parametrize("starts", [STEADY, UNEVEN])
@pytest.mark.parametrize("ahead", [-30.0, -0.2, 0.0, 0.2])
def test_a_clock_read_when_a_fragment_began_dates_its_first_packet(starts: list[float], ahead: float) -> None:
    expected = [(round(start * 1000), round(start + ahead, 6)) for start in starts[:-1]]
    assert learnt(read_at_first(starts, ahead=ahead)) == [None, *expected]


@pytest.mark.parametrize("starts", [STEADY, UNEVEN])
@pytest.mark.parametrize("ahead", [-0.2, 0.0, 0.2])
def test_a_clock_read_when_a_fragment_was_finished_dates_the_packet_that_follows(
    starts: list[float], ahead: float
) -> None:
    expected = [(round(start * 1000), round(start + ahead, 6)) for start in starts[1:]]
    assert learnt(read_when_finished(starts, ahead=ahead)) == [None, *expected]


def test_what_comes_late_does_not_change_what_is_known_of_the_clock() -> None:
    fragments = read_when_finished(STEADY)
    fragments[3:6] = [(first, showed, fragments[6][2]) for first, showed, _ in fragments[3:6]]
    assert learnt(fragments)[1:] == [(1000 * n, float(n)) for n in range(1, 9)]


def test_what_was_buffered_before_the_connection_is_forgotten_once_the_stream_is_live() -> None:
    fragments = [(first, showed, max(arrived, 4.05)) for first, showed, arrived in read_when_finished(STEADY)]
    assert learnt(fragments)[5:] == [(1000 * n, float(n)) for n in range(5, 9)]


def test_one_damaged_stamp_does_not_change_what_the_others_mean() -> None:
    for damage in (86_400.0, -86_400.0):
        fragments = read_at_first(STEADY)
        first, showed, arrived = fragments[3]
        fragments[3] = (first, showed + damage, arrived)
        taught = learnt(fragments)
        assert taught.pop(4) == (3000, 3.0 + damage)
        assert taught[1:] == [(1000 * n, float(n)) for n in (0, 1, 2, 4, 5, 6, 7)]


def test_a_frame_anywhere_in_its_fragment_may_be_the_one_that_the_clock_was_read_at() -> None:
    leads = [0, 400, 960]
    fragments = [(start, start + leads[n % 3] / 1000, start + 1.05) for n, start in enumerate(STEADY)]
    expected = [(round(start * 1000) + leads[n % 3], start + leads[n % 3] / 1000) for n, start in enumerate(STEADY)]
    assert learnt(fragments, leads=leads)[2:] == expected[1:-1]
    constant = [(start, start, start + 1.05) for start in STEADY]
    assert learnt(constant, leads=[500])[1:] == [(1000 * n, float(n)) for n in range(8)]


def test_undated_fragments_and_jumps_of_media_time_teach_nothing() -> None:
    undated: list[tuple[float, float | None, float]] = [(n, None, n + 1.0) for n in STEADY]
    assert learnt(undated) == [None] * 9
    fragments = [*read_at_first(STEADY[:3]), *read_at_first([900.0, 901.0]), *read_at_first([1.0, 2.0])]
    assert [one and one[0] for one in learnt(fragments)] == [None, 0, 1000, None, 900_000, None, 1000]


def test_fragments_of_other_tracks_are_no_ends() -> None:
    heads: deque[FragmentHead] = deque()
    clock = LiveReferenceClock(heads, 1, 0.001)
    for number, track in enumerate([1, 2, 2, 1]):
        heads.append(
            FragmentHead(SIZE * number, START + 9, prft(START + number, 0, track=track) + moof(0, track=track))
        )
    assert clock.passed(60, 0) is None
    reference = clock.passed(3 * SIZE + 60, 3000)
    assert reference is not None
    assert (reference.media_time, reference.unix_s) == (0, START)


def test_a_network_that_jitters_never_takes_a_clock_read_at_first_for_the_other() -> None:
    dice = random.Random(7)
    fragments = [(n, n, n + 1 + dice.expovariate(3)) for n in map(float, range(200))]
    assert learnt(fragments)[1:] == [(1000 * n, float(n)) for n in range(199)]
