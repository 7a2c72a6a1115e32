"""Canonical times: the stream's own spacing, the source's own clock, strictly ascending, whatever the two do."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.memory.base.records import TimeBasis
from afterview.stream.ingest.timeline import LiveClock, RecordedClock

START = 1_700_000_000.0


def play(
    clock: LiveClock,
    seconds: Sequence[float],
    *,
    delay: float = 0.0,
    ahead: float | None = None,
    since: float = START,
    pts: float = 0.0,
) -> list[float]:
    """Times from `since` of frames that were taken at these seconds, arrive `delay` later, and are dated `ahead` by the source."""
    times = []
    for second in seconds:
        arrival = since + second + delay
        clock.observe(second - pts, arrival, None if ahead is None else since + second + ahead)
        times.append(clock.time_of(second - pts, arrival) - since)
    return times


def deliver(clock: LiveClock, frames: range, arrival: Callable[[float], float]) -> bool:
    """Frames of a stream at 10 per second; `arrival` of a frame's second, from START. Whether the clock has settled by then."""
    for number in frames:
        clock.observe(number / 10, START + arrival(number / 10))
    return clock.settled


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
    assert not deliver(clock, range(28), lambda second: second * 1e-3)  # 2.8 s, all at once
    assert deliver(clock, range(28, 34), lambda second: second - 2.7)
    times = [clock.time_of(float(second), START) - START for second in range(3)]
    assert times == pytest.approx([-2.7, -1.7, -0.7], abs=0.01)
    assert times[1] - times[0] == pytest.approx(1.0)
    assert clock.time_of(3.0, START + 0.3) - START == pytest.approx(0.3, abs=0.01)


def test_a_stream_without_a_burst_is_anchored_on_the_least_delayed_of_its_first_frames() -> None:
    clock = LiveClock()
    for number, delay in enumerate((0.3, 0.35, 0.02, 0.3, 0.3, 0.3)):
        assert not clock.settled
        clock.observe(number / 10, START + number / 10 + delay)
    assert clock.settled
    assert clock.time_of(0.0, START + 0.3) == pytest.approx(START + 0.02)


def test_a_busy_machine_that_is_slow_to_catch_up_with_what_was_buffered_is_waited_for() -> None:
    """A buffered second, decoded little faster than it was sent: only who has caught up knows the delay."""
    clock = LiveClock()
    assert not deliver(clock, range(25), lambda second: 0.6 * second)
    assert deliver(clock, range(25, 31), lambda second: second - 1.0)
    assert clock.time_of(0.0, START) == pytest.approx(START - 1.0, abs=0.05)


def test_frames_that_suddenly_come_faster_than_ever_wait_until_it_is_known_why() -> None:
    clock = LiveClock()
    assert deliver(clock, range(20), lambda second: second)
    assert clock.time_of(1.0, START + 1.0) == START + 1.0
    assert not deliver(clock, range(20, 50), lambda second: 2.0 + (second - 2.0) / 10)  # 3 s come in 0.3 s
    assert deliver(clock, range(50, 56), lambda second: second - 2.7)
    assert [clock.time_of(second, START + 2.9) - START for second in (3.0, 4.0, 5.0)] == pytest.approx(
        [2.0, 2.5, 2.95], abs=0.001
    )


def test_frames_do_not_wait_longer_for_their_times_than_a_crash_may_cost() -> None:
    clock = LiveClock()
    settled = [deliver(clock, range(number, number + 1), lambda second: second / 2) for number in range(170)]
    assert settled.index(True) * 0.05 == pytest.approx(8.0)  # it never catches up


def test_a_frame_that_was_held_back_is_dated_by_what_had_come_by_then() -> None:
    taken = [0.0, 0.35, 0.41, 0.6, 0.62, 0.97, 1.3, 1.31, 1.8, 2.3]
    clock = LiveClock()
    for second, following in itertools.pairwise(taken):
        clock.observe(second, START + following + 0.01, reached_s=following)
    assert clock.settled
    assert [clock.time_of(second, START + 3) for second in taken] == pytest.approx([START + s + 0.01 for s in taken])


def test_a_stream_without_times_settles_at_once() -> None:
    clock = LiveClock()
    clock.observe(None, START)
    assert clock.settled
    assert clock.time_of(0.0, START) == START


def test_hls_segments_may_run_ahead() -> None:
    clock = LiveClock(bursts=True)
    assert [clock.time_of(float(k), START) - START for k in range(6)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_hls_whose_date_is_unknown_after_a_discontinuity_goes_on_as_late_as_before() -> None:
    """Segments of 2 s are dated 3 s before they arrive. Their date is read again after a discontinuity; that may fail."""
    clock, held, times = LiveClock(bursts=True), [], []

    def deliver(number: int, pts: float, *, dated: bool) -> None:
        arrival = START + 2 * number + 3 + 2
        for tenth in range(20):
            clock.observe(pts + tenth / 10, arrival, START + 2 * number + tenth / 10 if dated else None)
            held.append((pts + tenth / 10, arrival))
            while clock.settled and held:
                times.append(clock.time_of(*held.pop(0)) - START)

    for number in range(5):
        deliver(number, 100 + 2 * number, dated=True)
    clock.connected(goes_on=True)
    for number in range(5, 10):
        deliver(number, 2 * number - 8.6, dated=False)
    assert times == pytest.approx([tenth / 10 for tenth in range(len(times))], abs=0.3)
    assert len(times) > 180
    clock.connected()  # another connection begins at another place of the playlist
    held.clear()
    deliver(10, 0.0, dated=False)
    deliver(11, 2.0, dated=False)
    assert times[-1] == pytest.approx(2 * 11 + 5, abs=0.3)


def test_a_reported_clock_does_not_settle_a_stream_that_comes_too_fast() -> None:
    """Ten times its rate, as RTP and RTCP say: that is found after 1.6 s, and until then the frames wait."""
    clock = LiveClock()
    for number in range(30):
        clock.observe(number / 2, START + number / 20, START + number / 20)
        assert not clock.settled


@pytest.mark.parametrize("rate", [0.75, 0.8, 0.9])
def test_a_clock_that_falls_behind_is_made_good_without_a_leap(rate: float) -> None:
    clock, times = LiveClock(), []
    for number in range(10 * 150):
        pts, arrival = rate * number / 10, START + number / 10
        clock.observe(pts, arrival)
        if not times or pts >= times[-1][0] + 1:
            times.append((pts, clock.time_of(pts, arrival)))
    steps = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(times)]
    assert max(steps) < 1.8
    assert times[-1][1] - START == pytest.approx(150, abs=11)


def test_a_silence_that_the_stream_leaves_out_still_shows() -> None:
    """The camera's clock stands still while it sends nothing for 30 s."""
    clock = LiveClock()
    times = [clock.time_of(float(second), START + second + 30 * (second >= 10)) - START for second in range(20)]
    assert times[10] == pytest.approx(40, abs=0.6)


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


# --- the source's own clock ---


def test_a_connection_whose_source_clock_is_known_is_anchored_on_it() -> None:
    clock = LiveClock()
    assert play(clock, [0.0, 1.0, 2.0], delay=0.8, ahead=0.0) == pytest.approx([0.0, 1.0, 2.0])
    assert clock.settled
    assert clock.basis is TimeBasis.SOURCE


def test_a_late_report_changes_over_at_half_speed_and_then_keeps_the_streams_spacing() -> None:
    clock = LiveClock()
    before = play(clock, [0.0, 1.0, 2.0], delay=2.2)
    assert before == pytest.approx([2.2, 3.2, 4.2])
    assert clock.basis is TimeBasis.ARRIVAL
    after = play(clock, [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], delay=2.2, ahead=0.0)
    assert after == pytest.approx([4.7, 5.2, 5.7, 6.2, 7.0, 8.0, 9.0])
    assert clock.basis is TimeBasis.SOURCE


def test_a_source_ahead_of_its_arrivals_is_followed_at_once() -> None:
    clock = LiveClock()
    play(clock, [0.0, 1.0])
    assert play(clock, [2.0, 3.0], ahead=0.9) == pytest.approx([2.9, 3.9])


def test_reports_that_jitter_or_only_confirm_the_arrivals_leave_the_spacing_alone() -> None:
    clock = LiveClock()
    times = play(clock, [0.0, 1.0], delay=0.05)
    for second, ahead in enumerate((0.0, 0.04, -0.04, 0.03, -0.03), 2):
        times += play(clock, [float(second)], delay=0.05, ahead=ahead)
    assert times == pytest.approx([second + 0.05 for second in range(7)])
    assert clock.basis is TimeBasis.SOURCE


@pytest.mark.parametrize("ahead", [-START, -3 * 365 * 86_400.0, -7200.0, 30.0, 86_400.0])
def test_an_absurd_clock_is_not_believed(ahead: float) -> None:
    clock = LiveClock()
    assert play(clock, [0.0, 1.0, 2.0], delay=0.2, ahead=ahead) == pytest.approx([0.2, 1.2, 2.2])
    assert clock.basis is TimeBasis.ARRIVAL
    assert clock.rejected == pytest.approx(ahead - 0.2)


def test_a_camera_that_learns_the_time_after_it_was_switched_on_is_believed_from_then_on() -> None:
    clock = LiveClock()
    play(clock, [0.0, 1.0], delay=0.5, ahead=-START)
    assert play(clock, [2.0, 3.0], delay=0.5, ahead=0.0) == pytest.approx([2.0, 3.0])
    assert clock.basis is TimeBasis.SOURCE


def test_a_clock_at_the_edge_of_belief_is_not_doubted_every_other_frame() -> None:
    clock = LiveClock()
    seen = set()
    for second in range(40):
        play(clock, [float(second)], delay=60 + (second % 2), ahead=0.0)
        seen.add((second > 0, clock.basis))
    assert seen == {(False, TimeBasis.SOURCE), (True, TimeBasis.SOURCE)}


def test_a_source_clock_that_is_set_forward_or_back_is_followed_without_a_step_back() -> None:
    clock = LiveClock()
    play(clock, [0.0, 1.0], delay=5.0, ahead=0.0)
    assert play(clock, [2.0, 3.0], delay=5.0, ahead=3.0) == pytest.approx([5.0, 6.0])
    back = play(clock, [float(second) for second in range(4, 14)], delay=5.0, ahead=0.0)
    assert back == pytest.approx([6.5, 7.0, 7.5, 8.0, 8.5, 9.0, 10.0, 11.0, 12.0, 13.0])


# --- our own clock ---


def test_when_our_clock_is_set_back_the_time_line_goes_on_at_half_speed_until_it_agrees() -> None:
    clock = LiveClock()
    play(clock, [0.0, 1.0])
    after = play(clock, [float(second) for second in range(2, 140)], delay=-60.0)
    steps = [later - earlier for earlier, later in itertools.pairwise(after)]
    assert min(steps) == pytest.approx(0.5)
    assert after[-1] == pytest.approx(139 - 60.0)
    assert steps[-10:] == pytest.approx([1.0] * 10)


def test_when_our_clock_is_set_forward_the_time_line_follows_at_once() -> None:
    clock = LiveClock()
    play(clock, [0.0, 1.0])
    assert play(clock, [2.0, 3.0], delay=3600.0) == pytest.approx([3602.0, 3603.0])


def test_a_source_clock_that_is_believed_does_not_care_when_ours_is_set_a_little() -> None:
    clock = LiveClock()
    play(clock, [0.0, 1.0], delay=0.2, ahead=0.0)
    assert play(clock, [2.0, 3.0], delay=20.2, ahead=0.0) == pytest.approx([2.0, 3.0])
    assert play(clock, [4.0, 5.0], delay=-1.0, ahead=0.0) == pytest.approx([4.0, 5.0])


def test_a_month_of_drift_makes_no_jump() -> None:
    """The camera's crystal runs 50 millionths slow, and it never says what time it is."""
    clock, last = LiveClock(), None
    for minute in range(30 * 24 * 60):
        taken = minute * 60.0
        (now,) = play(clock, [taken], delay=taken * 5e-5)
        assert last is None or 59.0 < now - last < 61.0
        assert abs(now - taken * (1 + 5e-5)) < 0.6
        last = now


def test_half_of_an_outage_shows_even_while_the_time_line_is_ahead() -> None:
    clock = LiveClock(after=START + 100)
    first = play(clock, [0.0, 1.0])
    clock.connected()
    (resumed,) = play(clock, [41.0], pts=41.0)
    assert resumed - first[-1] == pytest.approx(20.0)


# --- whatever happens ---


@dataclass(frozen=True)
class Happening:
    """What may come between two frames, and how the next one comes."""

    step: float  # seconds of the stream since the frame before
    delay: float  # seconds until it arrives
    source_ahead: float | None  # seconds that the source's clock is ahead; None: unknown
    our_step: float  # seconds by which our own clock is set meanwhile
    held_back: float  # seconds of the stream that had come by then, beyond the frame
    reconnected: bool
    restarted: bool
    chosen: bool


CLOCK_STEPS = st.sampled_from([0.0, 0.0, 0.0, 0.0, -1.0, 1.0, 37.0, -37.0, 3600.0, -3600.0, 1e9, -1e9])
HAPPENINGS = st.builds(
    Happening,
    step=st.one_of(st.just(1.0), st.floats(-100, 1000)),
    delay=st.floats(0, 40),
    source_ahead=st.one_of(st.none(), st.floats(-0.2, 0.2), st.floats(-1e10, 1e10)),
    our_step=CLOCK_STEPS,
    held_back=st.floats(0, 2),
    reconnected=st.sampled_from([False, False, False, True]),
    restarted=st.sampled_from([False, False, False, True]),
    chosen=st.booleans(),
)


@given(st.lists(HAPPENINGS, max_size=40), st.booleans(), st.booleans())
def test_whatever_happens_times_ascend_at_no_less_than_half_the_speed_that_arrivals_bear_out_and_then_are_right(
    happenings: list[Happening], bursts: bool, stamped: bool
) -> None:
    clock = LiveClock(after=START, bursts=bursts)
    now, our_clock, pts, last = START, 0.0, 0.0, START
    newest: tuple[float, float] | None = None  # presentation and arrival time of the latest chosen frame
    for happening in happenings:
        now += abs(happening.step)
        our_clock += happening.our_step
        pts = 0.0 if happening.restarted else pts + happening.step
        if happening.reconnected:
            clock.connected()
            newest = None
        arrival = now + our_clock + happening.delay
        source = None if happening.source_ahead is None else now + happening.source_ahead
        clock.observe(pts if stamped else None, arrival, source, pts + happening.held_back)
        if happening.chosen:
            credit = clock._credit  # seconds of the stream that may come at once
            when = clock.time_of(pts, arrival, restarted=happening.restarted)
            assert when > last
            if newest is not None and not happening.restarted and 0 < pts - newest[0] < 10 + arrival - newest[1]:
                borne_out = min(pts - newest[0], credit + max(0.0, arrival - newest[1]))
                assert when - last >= 0.5 * borne_out - 1e-6
            last, newest = when, (pts, arrival)
    # From here on nothing more goes wrong, and what went wrong is made good.
    clock.connected()
    ahead = max(0.0, last - now)
    step = max(1.0, ahead / 100)  # seconds between frames: it may take twice as long as it was ahead
    for number in range(1, 300):
        second = number * step
        before = last
        clock.observe(second, now + second + 0.3, now + second)
        last = clock.time_of(second, now + second + 0.3)
    assert last == pytest.approx(now + second, abs=0.101)
    assert last - before == pytest.approx(step, rel=1e-6)
    assert clock.basis is TimeBasis.SOURCE
