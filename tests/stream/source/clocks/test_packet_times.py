"""The line of time of a live stream: at the pace of arrivals whenever its clock is wrong, on its own clock whenever that is right."""

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterview.stream.source.clocks.outliers import Outliers, Timed
from afterview.stream.source.clocks.packet_times import LiveLine

FPS = 25


def lay(
    stream: Callable[[float], float], *, seconds: float = 60, without_times: bool = False
) -> tuple[list[tuple[float, float]], list[str]]:
    """Arrival and line of every frame, and the problems that were found; frames arrive on time."""
    line, outliers = LiveLine(without_times=without_times), Outliers[int]()
    placed: list[tuple[float, float]] = []
    problems = [""]
    for number in range(round(seconds * FPS)):
        second = number / FPS
        for item in outliers.add(Timed(number, None, stream(second), second)):
            _, time = line.place(item)
            assert time is not None
            assert item.arrived is not None
            placed.append((item.arrived, time))
            if line.problem != problems[-1]:
                problems.append(line.problem)
    return placed, problems


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 2.0, 3.0, 10.0])
def test_a_line_with_a_wrong_clock_goes_at_the_pace_of_arrivals(rate: float) -> None:
    placed, problems = lay(lambda second: rate * second)
    assert len(problems) == 2
    (arrived, line), (last_arrived, last_line) = placed[10 * FPS], placed[-1]
    assert last_line - line == pytest.approx(last_arrived - arrived, abs=0.01)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.7])
def test_a_line_that_fell_back_is_made_good_without_a_leap(rate: float) -> None:
    """A leap of two seconds would leave out the frame of a second, and no gap would say so."""
    placed, _ = lay(lambda second: rate * second, seconds=90)
    steps = [after - before for (_, before), (_, after) in itertools.pairwise(placed)]
    assert max(steps) < 2 / FPS + 0.13  # 0.1 s of packets may share one time
    assert placed[-1][1] == pytest.approx(placed[-1][0], abs=0.05)


def test_a_line_that_is_made_good_goes_on_so_when_the_clock_is_right_again() -> None:
    placed, problems = lay(
        lambda second: second if second < 10 else 10 + 0.7 * min(second - 10, 36) + max(0.0, second - 46), seconds=90
    )
    assert len(problems) == 3
    steps = [after - before for (_, before), (_, after) in itertools.pairwise(placed)]
    assert max(steps) < 2 / FPS
    assert placed[-1][1] == pytest.approx(placed[-1][0], abs=0.05)


@pytest.mark.parametrize("jump", [100.0, 9800.0, -15.0])
def test_a_line_goes_on_by_arrivals_where_the_clock_jumps(jump: float) -> None:
    placed, problems = lay(lambda second: second + jump * (second >= 20))
    assert problems == [""]
    assert [line for _, line in placed] == pytest.approx([arrived for arrived, _ in placed], abs=0.05)


def test_a_jump_that_leaves_out_what_a_jam_held_up_is_none_of_the_clock() -> None:
    """The camera keeps three of ten seconds of a jam; these come at once, and then it goes on with what is new."""
    line, outliers = LiveLine(without_times=False), Outliers[int]()
    placed: list[tuple[float, float | None]] = []
    for number in range(60 * FPS):
        second = number / FPS
        if 23 < second < 30:
            continue
        for item in outliers.add(Timed(number, None, second, 30.0 if 20 < second <= 23 else second)):
            placed.append((item.packet / FPS, line.place(item)[1]))
    assert [time for _, time in placed] == [second for second, _ in placed]
    assert line.changes == 0


def test_a_line_is_on_the_streams_own_clock_again_once_that_is_right() -> None:
    placed, problems = lay(lambda second: min(second, 20.0) if second < 30 else second - 10)
    assert problems == ["", "stands still", ""]
    assert [line for _, line in placed] == pytest.approx([arrived for arrived, _ in placed], abs=2.0)
    assert placed[-1][1] == pytest.approx(placed[-1][0], abs=0.05)


def test_a_right_clock_is_left_alone_to_the_last_digit() -> None:
    line = LiveLine(without_times=False)
    for number in range(1000):
        assert line.place(Timed(number, number / 30, number / 30 + 0.1, number / 30)) == (
            number / 30,
            number / 30 + 0.1,
        )
    assert line.changes == 0


def test_a_format_without_times_goes_by_arrivals_from_the_start() -> None:
    placed, problems = lay(lambda second: 1000 + second / 7, without_times=True)
    assert problems == [""]
    assert [line for _, line in placed] == pytest.approx([arrived for arrived, _ in placed])


@pytest.mark.parametrize("gop_s", [1, 4, 10])
def test_a_camera_that_gives_new_times_to_key_frames_only_keeps_the_pace_of_arrivals(gop_s: int) -> None:
    placed, _ = lay(lambda second: float(second // gop_s * gop_s))
    assert [line for _, line in placed] == pytest.approx([arrived for arrived, _ in placed], abs=0.13)


def test_a_clock_of_random_times_is_found_and_arrivals_count() -> None:
    dice = random.Random(3)
    placed, problems = lay(lambda second: dice.random() * 40_000)
    assert problems == ["", "jumps again and again"]
    first = placed[0][1]
    assert [line - first for _, line in placed] == pytest.approx([arrived for arrived, _ in placed], abs=0.5)


def test_times_that_jitter_by_a_second_leave_the_line_near_its_arrivals() -> None:
    dice = random.Random(3)
    placed, problems = lay(lambda second: second + dice.random())
    assert problems == [""]
    assert [line for _, line in placed] == pytest.approx([arrived for arrived, _ in placed], abs=1.0)


def test_the_two_fields_of_a_picture_may_share_one_time() -> None:
    line = LiveLine(without_times=False)
    times = [line.place(Timed(number, None, number // 2 / 25, number / 50))[1] for number in range(100)]
    assert times == [number // 2 / 25 for number in range(100)]
    assert line.repeated == 0


STRETCHES = st.lists(
    st.tuples(
        st.floats(0.5, 30),  # seconds that it lasts
        st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0, 1.0, 1.0, 1.1, 2.0, 3.0, 10.0]),  # rate of the clock
        st.sampled_from([0.0, 0.0, 0.0, 7.0, -7.0, 1e4, -1e4]),  # jump at its beginning
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(STRETCHES)
def test_whatever_the_clock_does_the_line_rises_and_then_keeps_the_pace_of_arrivals(
    stretches: list[tuple[float, float, float]],
) -> None:
    begins = list(itertools.accumulate((seconds for seconds, _, _ in stretches), initial=0.0))

    def stream(second: float) -> float:
        time = 0.0
        for begin, (seconds, rate, jump) in zip(begins, stretches, strict=False):
            if second >= begin:
                time += jump + rate * min(second - begin, seconds)
        return time + max(0.0, second - begins[-1])

    placed, _ = lay(stream, seconds=begins[-1] + 40)
    lines = [line for _, line in placed]
    # A clock that creeps back within half a second is a packet out of order.
    assert all(after >= before - 0.51 for before, after in itertools.pairwise(lines))
    settled = [line - arrived for arrived, line in placed[-10 * FPS :]]
    assert max(settled) - min(settled) < 0.5
