"""The sampler against a plain oracle, and the ways in which a stream's clock misbehaves, one by one."""

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from afterview.configs import UsageError
from afterview.stream.ingest.sampler import REORDER_S, Chosen, Sampler

RATES = st.sampled_from([0.5, 1.0, 2.0, 5.0])


def slots(sampler: Sampler, times: Sequence[float | None]) -> list[int | None]:
    """The slot that each frame is chosen for."""
    return [chosen.slot if (chosen := sampler.admit(time)) else None for time in times]


def chosen_numbers(fps: float, times: Sequence[float | None]) -> list[int]:
    """Which frames are chosen."""
    return [number for number, slot in enumerate(slots(Sampler(fps), times)) if slot is not None]


def test_one_frame_per_second_the_first_at_or_after_it() -> None:
    assert slots(Sampler(1), [0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4]) == [0, None, None, 1, None, 2, None]


@pytest.mark.parametrize(("fps", "every"), [(0.5, 20), (1, 10), (2, 5), (10, 1)])
def test_any_rate(fps: float, every: int) -> None:
    assert chosen_numbers(fps, [number / 10 for number in range(60)]) == list(range(0, 60, every))


def test_slots_are_counted_from_the_first_frame() -> None:
    assert slots(Sampler(1), [7.3, 8.2, 8.31, 9.29, 9.3]) == [0, None, 1, None, 2]


@pytest.mark.parametrize("rate", [10, 12.5, 179 / 6, 25, 50, 60])
@pytest.mark.parametrize("unit", [1000, 90_000, 15_360])
def test_rounded_timestamps_choose_the_same_frames_as_exact_ones(rate: float, unit: int) -> None:
    exact = [number / rate for number in range(int(60 * rate))]
    rounded = [math.floor(time * unit) / unit for time in exact]
    assert chosen_numbers(1, rounded) == chosen_numbers(1, exact)


def test_a_forward_jump_skips_slots() -> None:
    sampler = Sampler(1)
    assert slots(sampler, [0.0, 1.0, 61.5, 62.0, 62.5]) == [0, 1, 61, 62, None]
    assert sampler.discontinuities == 0


def test_a_jump_of_years_is_another_clock() -> None:
    """Else one damaged time, or a clock that is set, would put all that follows in another century."""
    sampler = Sampler(1)
    assert slots(sampler, [0.0, 1.0, 9e11, 9e11 + 0.5, 9e11 + 1, 2.0, 3.0]) == [0, 1, 2, None, 3, 4, 5]
    assert sampler.discontinuities == 2
    assert slots(Sampler(1), [0.0, 1e7]) == [0, 10_000_000]


def test_a_stream_slower_than_the_sampling_gives_every_frame_its_own_slot() -> None:
    assert slots(Sampler(1), [0.0, 5.0, 10.0, 15.0]) == [0, 5, 10, 15]


def test_repeated_frames_are_not_chosen_twice() -> None:
    assert slots(Sampler(1), [0.0, 0.0, 0.0, 1.0, 1.0]) == [0, None, None, 1, None]


def test_frames_slightly_out_of_order_neither_restart_nor_repeat() -> None:
    sampler = Sampler(1)
    assert slots(sampler, [0.0, 0.12, 0.04, 0.08, 1.0, 0.96, 1.04]) == [0, None, None, None, 1, None, None]
    assert sampler.discontinuities == 0


def test_a_clock_that_begins_again_continues_with_the_next_slot_and_says_so() -> None:
    sampler = Sampler(1)
    times = [0.0, 0.5, 1.0, 1.5, 0.0, 0.5, 1.0]
    chosen = [frame for time in times if (frame := sampler.admit(time))]
    assert chosen == [Chosen(0, 0.0), Chosen(1, 1.0), Chosen(2, 0.0, discontinuity=True), Chosen(3, 1.0)]
    assert sampler.discontinuities == 1


def test_after_a_restart_slots_are_counted_from_the_restart() -> None:
    assert slots(Sampler(1), [0.0, 1.0, 2.7, 0.3, 1.2, 1.3]) == [0, 1, 2, 3, None, 4]


@pytest.mark.parametrize(
    "times", [[3.0], [0.0, 0.1, 0.2, 0.3]], ids=["stands still", "loops within the reorder window"]
)
def test_a_clock_that_never_advances_does_not_stop_the_memory(times: list[float]) -> None:
    sampler = Sampler(1)
    frames = slots(sampler, times * 200)
    assert sum(slot is not None for slot in frames) >= 3
    assert sampler.discontinuities >= 2


def test_a_slow_clock_that_stands_still_is_one_after_two_seconds_too() -> None:
    assert slots(Sampler(0.5), [0.0, 2.0, 4.0, 4.0]) == [0, 1, 2, None]
    assert slots(Sampler(0.5), [0.0, 2.0, 4.0, 4.0, 4.0]) == [0, 1, 2, None, 3]


@pytest.mark.parametrize(("rate", "frames"), [(25, 50), (5, 10), (1, 2)])
def test_a_clock_that_stands_still_is_judged_in_seconds_not_in_frames(rate: float, frames: int) -> None:
    sampler = Sampler(1, nominal_rate=rate)
    found = slots(sampler, [3.0] * (frames + 1))
    assert found.index(1) == frames


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -1e300])
def test_frames_without_a_time_follow_at_the_last_step(missing: float | None) -> None:
    times = [0.0, 0.25, 0.5, *[missing] * 6]  # the missing ones stand for 0.75, 1.0 ... 2.0
    assert slots(Sampler(1), times) == [0, None, None, None, 1, None, None, None, 2]


def test_one_gap_is_not_taken_for_the_frame_rate() -> None:
    assert slots(Sampler(1), [0.0, 0.25, 0.5, 30.0, None, None, None, None]) == [
        0,
        None,
        None,
        30,
        None,
        None,
        None,
        31,
    ]


def test_a_stream_without_any_time_is_sampled_at_its_nominal_rate() -> None:
    assert [n for n, slot in enumerate(slots(Sampler(1, nominal_rate=5), [None] * 16)) if slot is not None] == [
        0,
        5,
        10,
        15,
    ]
    assert chosen_numbers(1, [None] * 51) == [0, 25, 50]


def test_leading_frames_without_a_time_join_the_streams_clock() -> None:
    sampler = Sampler(1, nominal_rate=10)
    assert slots(sampler, [None, None, 1000.2, 1000.9, 1001.0]) == [0, None, None, None, 1]
    assert sampler.discontinuities == 0


def test_a_new_connection_is_a_discontinuity_whatever_its_clock() -> None:
    sampler = Sampler(1)
    sampler.admit(10.0)
    sampler.restart()
    assert sampler.admit(10.2) == Chosen(1, 10.2, discontinuity=True)
    assert sampler.admit(11.1) is None
    assert sampler.admit(11.2) == Chosen(2, 11.2)


def test_a_restart_before_the_first_frame_is_no_discontinuity() -> None:
    sampler = Sampler(1)
    sampler.restart()
    assert sampler.admit(3.0) == Chosen(0, 3.0)


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf])
def test_an_impossible_rate_is_refused(fps: float) -> None:
    with pytest.raises(UsageError, match="not a positive number"):
        Sampler(fps)


def oracle(fps: float, stretches: list[list[int]]) -> list[tuple[int, int]]:
    """(frame number, slot), by definition: per stretch of time, slot by slot, the last of the slots that the first frame at or
    after them fills. Times in milliseconds; a slot's time comes 1 ms early.
    """
    found: list[tuple[int, int]] = []
    number, first_slot = 0, 0
    for times in stretches:
        for time in times:
            slot = first_slot
            while (slot + 1 - first_slot) * 1000 <= (time - times[0] + 1) * fps:
                slot += 1
            if not found or slot > found[-1][1]:
                found.append((number, slot))
            number += 1
        first_slot = found[-1][1] + 1
    return found


@st.composite
def stretches_of_time(draw: st.DrawFn) -> list[list[int]]:
    """Stretches of ascending times in milliseconds (variable rate, repeats, jumps), each far enough back to be a restart.

    No time comes three times in a row: of a slow stream that would be a clock that stands still.
    """
    stretches: list[list[int]] = []
    for _ in range(draw(st.integers(1, 4))):
        steps = draw(st.lists(st.one_of(st.integers(0, 120), st.integers(0, 3000), st.integers(0, 10**5)), max_size=40))
        start = draw(st.integers(0, 10**6))
        if stretches:
            start = stretches[-1][-1] - round(REORDER_S * 1000) - 1 - start
        times = [start]
        for step in steps:
            if step or len(times) < 2 or times[-1] > times[-2]:
                times.append(times[-1] + step)
        stretches.append(times)
    return stretches


@given(fps=RATES, stretches=stretches_of_time())
@example(fps=0.5, stretches=[[0, 2000, 4000, 4000]])
@example(fps=0.5, stretches=[[0, 2000, 4000], [3499, 3499]])
def test_agrees_with_the_oracle(fps: float, stretches: list[list[int]]) -> None:
    sampler = Sampler(fps)
    times = [time / 1000 for stretch in stretches for time in stretch]
    chosen = [(number, frame.slot) for number, time in enumerate(times) if (frame := sampler.admit(time))]
    assert chosen == oracle(fps, stretches)
    assert sampler.discontinuities == len(stretches) - 1


@given(fps=RATES, times=st.lists(st.one_of(st.none(), st.floats(allow_nan=True), st.floats(-10, 10)), max_size=80))
def test_whatever_the_clock_says_slots_only_rise(fps: float, times: list[float | None]) -> None:
    sampler = Sampler(fps, nominal_rate=25)
    numbers = [slot for slot in slots(sampler, times) if slot is not None]
    assert all(before < after for before, after in itertools.pairwise(numbers))
    assert not times or numbers[0] == 0  # the first frame is always remembered


@given(
    fps=RATES,
    steps=st.lists(st.integers(1, 2000), min_size=1, max_size=60),
    lost=st.sets(st.integers(0, 60)),
    origin=st.integers(0, 10**6),
)
def test_losing_times_never_doubles_a_slot_nor_stops_the_stream(
    fps: float, steps: list[int], lost: set[int], origin: int
) -> None:
    times: list[float | None] = []
    now = origin
    for number, step in enumerate(steps):
        times.append(None if number in lost else now / 1000)
        now += step
    numbers = [slot for slot in slots(Sampler(fps), [*times, now / 1000, now / 1000 + 20]) if slot is not None]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 2


@given(st.lists(st.one_of(st.none(), st.floats(0, 50), st.floats(allow_nan=True)), max_size=40), RATES)
def test_due_foretells_what_admit_chooses_and_changes_nothing(times: list[float | None], fps: float) -> None:
    asked, plain = Sampler(fps), Sampler(fps)
    for time in times:
        due = asked.due(time)
        assert asked.due(time) == due
        chosen = asked.admit(time)
        assert (chosen is not None) == due
        assert str(chosen) == str(plain.admit(time))
