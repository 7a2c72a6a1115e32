"""The sampler against a plain oracle, and the ways in which a stream's clock misbehaves, one by one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import UsageError
from stream.sampler import REORDER_S, STUCK_FRAMES, TOLERANCE_S, Chosen, Sampler

RATES = st.sampled_from([0.5, 1.0, 2.0, 5.0])


def slots(sampler: Sampler, times: list[float | None]) -> list[int | None]:
    return [chosen.slot if (chosen := sampler.admit(time)) else None for time in times]


def chosen_times(fps: float, times: list[float]) -> list[float]:
    sampler = Sampler(fps)
    return [time for time in times if sampler.admit(time)]


def test_one_frame_per_second_the_first_at_or_after_it() -> None:
    assert slots(Sampler(1), [0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4]) == [0, None, None, 1, None, 2, None]


@pytest.mark.parametrize(("fps", "expected"), [(0.5, [0, 2, 4]), (1, [0, 1, 2, 3, 4]), (2, [i / 2 for i in range(10)])])
def test_any_rate(fps: float, expected: list[float]) -> None:
    assert chosen_times(fps, [number / 10 for number in range(50)]) == expected


def test_slots_are_counted_from_the_first_frame() -> None:
    assert slots(Sampler(1), [7.3, 8.2, 8.31, 9.29, 9.3]) == [0, None, 1, None, 2]


@pytest.mark.parametrize("rate", [10, 12.5, 24000 / 1001, 25, 30000 / 1001, 50, 60])
def test_rounded_timestamps_choose_the_same_frames_as_exact_ones(rate: float) -> None:
    exact = [number / rate for number in range(int(120 * rate))]
    of_exact = [number for number, time in enumerate(exact) if (sampler := _shared(exact)).admit(time)]
    for unit in (1000, 90_000, 15_360):
        rounded = [round(time * unit) / unit for time in exact]
        assert [number for number, time in enumerate(rounded) if _shared(rounded).admit(time)] == of_exact
        assert sampler


_SAMPLERS: dict[int, Sampler] = {}


def _shared(times: list[float]) -> Sampler:
    return _SAMPLERS.setdefault(id(times), Sampler(1))
