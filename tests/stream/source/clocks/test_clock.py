"""Raw timestamps to seconds since the first frame, with the holes that real streams have."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from afterview.stream.source.clocks.clock import SourceClock

RTP = Fraction(1, 90_000)


def test_times_count_from_the_first_frame() -> None:
    clock = SourceClock(RTP)
    assert [clock.seconds(pts, None) for pts in (126_000, 129_600, 216_000)] == pytest.approx([0.0, 0.04, 1.0])


def test_a_missing_time_in_mid_stream_is_passed_on() -> None:
    clock = SourceClock(RTP)
    assert [clock.seconds(pts, None) for pts in (0, None, 7200)] == [0.0, None, pytest.approx(0.08)]


def test_a_stream_without_presentation_times_is_read_by_its_decoding_times() -> None:
    clock = SourceClock(Fraction(1, 10))
    assert [clock.seconds(None, dts) for dts in (3, 4, 5)] == pytest.approx([0.0, 0.1, 0.2])


def test_decoding_times_are_ignored_once_there_are_presentation_times() -> None:
    clock = SourceClock(Fraction(1, 10))
    assert clock.seconds(0, -2) == 0.0
    assert clock.seconds(None, -1) is None


def test_leading_frames_without_a_time_are_one_frame_step_apart() -> None:
    clock = SourceClock(Fraction(1, 1000), rate=10)
    assert [clock.seconds(pts, None) for pts in (None, None, 5000, 5100)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("second", [3000, 45_000, 200_000])
def test_the_first_rtsp_frame_stands_at_zero_whatever_the_next_interval(second: int) -> None:
    clock = SourceClock(RTP, rate=30, rtsp=True)
    assert clock.seconds(None, None) == 0.0
    assert clock.seconds(second, None) == pytest.approx(second / 90_000)


def test_an_rtsp_stream_that_begins_late_is_counted_from_its_first_frame() -> None:
    clock = SourceClock(RTP, rate=10, rtsp=True)
    assert clock.seconds(None, None) == 0.0
    assert clock.seconds(9_000_000, None) == pytest.approx(0.1)


def test_the_cameras_own_clock() -> None:
    clock = SourceClock(RTP)
    assert clock.wall(90_000) is None
    clock.learn_wall_clock(90_000, 1_700_000_000_500_000)
    assert clock.wall(180_000) == pytest.approx(1_700_000_001.5)
    assert clock.wall(None) is None
    clock.learn_wall_clock(None, 5)  # a report without a packet time teaches nothing
    assert clock.wall(90_000) == pytest.approx(1_700_000_000.5)


def test_a_date_is_learnt_again_when_the_streams_own_clock_began_anew() -> None:
    clock = SourceClock(RTP)
    clock.learn_wall_clock(900_000, 1_700_000_000_000_000)
    assert clock.wall(0) == pytest.approx(1_700_000_000 - 10)  # the newest segment may be ahead of what is being played
    assert clock.wall(90_000) == pytest.approx(1_700_000_000 - 9)
    assert clock.wall(90_000 * 3600) is None
    assert clock.wall(90_000 * 3601) is None
    clock.learn_wall_clock(90_000 * 3602, 1_700_000_100_000_000)
    assert clock.wall(90_000 * 3602) == pytest.approx(1_700_000_100)


def test_a_clock_that_steps_back_by_seconds_is_another_clock() -> None:
    """A looped broadcast of 8 s: its date before belongs to the loop before. Pictures out of order do not step back so far."""
    clock = SourceClock(RTP)
    clock.learn_wall_clock(0, 1_700_000_000_000_000)
    assert clock.wall(90_000 * 8) == pytest.approx(1_700_000_008)
    assert clock.wall(90_000 * 8 - 45_000) == pytest.approx(1_700_000_007.5)
    assert clock.wall(0) is None


def test_the_first_report_of_a_connection_waits_for_a_second_that_agrees() -> None:
    """FFmpeg puts it to the packet before the one that it is about."""
    clock = SourceClock(RTP)
    clock.hear_report(0, 1_700_000_000_500_000)
    assert clock.wall(0) is None
    clock.hear_report(9000, 1_700_000_000_100_000)
    assert clock.wall(9000) is None
    clock.hear_report(18_000, 1_700_000_000_200_000)
    assert clock.wall(18_000) == pytest.approx(1_700_000_000.2)
    clock.hear_report(27_000, 1_700_000_007_300_000)  # set, or one damaged report
    assert clock.wall(27_000) == pytest.approx(1_700_000_000.3)
    clock.hear_report(36_000, 1_700_000_007_400_000)
    assert clock.wall(36_000) == pytest.approx(1_700_000_007.4)


def report(clock: SourceClock, second: float, shown_s: float) -> None:
    clock.hear_report(round(90_000 * second), round((1_700_000_000 + shown_s) * 1e6))


@pytest.mark.parametrize(
    "shown", [lambda second: 0.0, lambda second: 3600.0 * (second // 2 % 2) + second], ids=["stands still", "flips"]
)
def test_reports_that_contradict_each_other_are_not_believed(shown: Callable[[float], float]) -> None:
    clock = SourceClock(RTP)
    for second in range(12):
        report(clock, second, shown(second))
    assert "contradict" in clock.note
    assert clock.wall(12 * 90_000) is None
    for second in range(12, 90):
        report(clock, second, second)
    assert clock.note == ""
    assert clock.wall(90 * 90_000) == pytest.approx(1_700_000_090)


def test_a_clock_that_is_set_once_contradicts_nothing() -> None:
    clock = SourceClock(RTP)
    for second in range(30):
        report(clock, second, second + 3600 * (second > 10))
    assert clock.note == ""
    assert clock.wall(30 * 90_000) == pytest.approx(1_700_003_630)


def test_the_first_rtsp_frame_lies_before_the_second_if_ffmpeg_counts_from_that_one() -> None:
    """The first picture's RTP time is 0: FFmpeg counts from the second one, which comes 5 s later at 0.2 frames per second."""
    clock = SourceClock(RTP, rtsp=True)
    assert clock.seconds(None, None) == 0.0
    clock.waited_s = 5.0
    assert [clock.seconds(pts, None) for pts in (0, 450_000)] == pytest.approx([5.0, 10.0])


def test_positions_count_from_the_first_frame_and_change_nothing() -> None:
    clock = SourceClock(RTP)
    assert clock.position(126_000) is None
    clock.seconds(126_000, None)
    assert clock.position(216_000) == pytest.approx(1.0)
    assert clock.seconds(129_600, None) == pytest.approx(0.04)
