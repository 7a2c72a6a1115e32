"""Canonical times: the stream's own spacing, strictly ascending, whatever the source does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.clock import LiveClock, RecordedClock

START = 1_700_000_000.0


def test_a_recording_keeps_its_own_clock() -> None:
    clock = RecordedClock(START)
    assert [clock.time_of(position, 5.0) for position in (0.0, 1.0, 2.04)] == [START, START + 1.0, START + 2.04]


def test_where_a_recordings_clock_restarts_its_time_line_goes_on() -> None:
    clock = RecordedClock(START)
    clock.time_of(7.0, 5.0)
    assert clock.time_of(0.5, 5.0, restarted=True) == START + 8.0
    assert clock.time_of(1.5, 5.0) == START + 9.0


def test_jitter_never_reaches_the_memory() -> None:
    clock = LiveClock()
    arrivals = [START, START + 1.3, START + 1.9, START + 3.05]
    assert [clock.time_of(float(k), arrival) - START for k, arrival in enumerate(arrivals)] == [0.0, 1.0, 2.0, 3.0]


def test_a_new_connection_is_anchored_where_it_arrives() -> None:
    clock = LiveClock()
    clock.time_of(0.0, START)
    clock.time_of(1.0, START + 1)
    clock.connected()
    assert clock.time_of(2.0, START + 31) == START + 31
    assert clock.time_of(3.0, START + 32.5) == START + 32


def test_a_clock_gone_wrong_is_anchored_anew() -> None:
    clock = LiveClock()
    clock.time_of(0.0, START)
    assert clock.time_of(100.0, START + 1) == START + 1  # the source jumped ahead
    assert clock.time_of(101.0, START + 60) == START + 60  # or stood still
    assert clock.time_of(5.0, START + 61, restarted=True) == START + 61  # or began anew


def test_what_was_buffered_before_the_first_read_lies_in_the_past() -> None:
    clock = LiveClock()
    for number in range(28):  # 2.8 s of a 10 FPS stream, all at once
        clock.observe(number / 10, START + number * 1e-4)
        assert not clock.settled
    clock.observe(2.8, START + 0.1)
    assert clock.settled
    times = [clock.time_of(float(second), START) - START for second in range(3)]
    assert times == pytest.approx([-2.7, -1.7, -0.7], abs=0.01)
    assert times[1] - times[0] == pytest.approx(1.0)
    assert clock.time_of(3.0, START + 0.3) - START == pytest.approx(0.3, abs=0.01)


def test_a_stream_without_a_burst_settles_with_its_second_frame() -> None:
    clock = LiveClock()
    clock.observe(0.0, START)
    clock.observe(0.1, START + 0.11)
    assert clock.settled
    assert clock.time_of(0.0, START) == START


def test_a_stream_without_times_settles_at_once() -> None:
    clock = LiveClock()
    clock.observe(None, START)
    assert clock.settled
    assert clock.time_of(0.0, START) == START


def test_hls_segments_may_run_ahead() -> None:
    clock = LiveClock(bursts=True)
    assert [clock.time_of(float(k), START) - START for k in range(6)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@given(
    st.lists(st.tuples(st.floats(-100, 1e6), st.floats(-100, 1e6), st.booleans()), min_size=2, max_size=50),
    st.booleans(),
)
def test_times_always_ascend(frames: list[tuple[float, float, bool]], live: bool) -> None:
    clock = LiveClock(after=START) if live else RecordedClock(START)
    last = START - (0 if live else 200)
    for position, arrival, reconnected in frames:
        if reconnected and isinstance(clock, LiveClock):
            clock.connected()
        now = clock.time_of(position, START + arrival)
        assert now > last
        last = now


def test_a_camera_resumed_never_goes_back() -> None:
    clock = LiveClock(after=START + 10)
    assert clock.time_of(0.0, START) == pytest.approx(START + 10.001)
