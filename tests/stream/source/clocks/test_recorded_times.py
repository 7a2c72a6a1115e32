"""Wrong times of a recording are mended wherever they stand; pauses, restarts and odd but right times are left as they are."""

import itertools
import random
from collections.abc import Iterable, Sequence

import pytest

from afterview.stream.source.clocks.outliers import Timed
from afterview.stream.source.clocks.recorded_times import RecordedTimes
from afterview.stream.source.clocks.wrapped_times import WrappedTimes

Times = list[tuple[float | None, float | None]]


def with_b_frames(shown: Sequence[float], *, delay: int = 2) -> Times:
    """Decoding and presentation times of groups of I/P b b: as encoders give them, the former are those of earlier pictures."""
    order = [0]
    for begin in range(1, len(shown), 3):
        group = list(range(begin, min(begin + 3, len(shown))))
        order += [group[-1], *group[:-1]]
    step = shown[1] - shown[0]
    decoded = [shown[0] - (delay - early) * step for early in range(delay)] + list(shown)
    return [(decoded[place], shown[number]) for place, number in enumerate(order)]


def plain(shown: Sequence[float]) -> Times:
    return [(time, time) for time in shown]


def verified(times: Times) -> tuple[Times, list[int]]:
    """The times that come out, and which of them were replaced."""
    recorded: RecordedTimes[int] = RecordedTimes()
    out: list[Timed[int]] = []
    for number, (dts, pts) in enumerate(times):
        out += recorded.add(Timed(number, dts, pts))
    out += recorded.rest()
    assert [item.packet for item in out] == list(range(len(times)))  # none is lost, none overtakes
    return [(item.dts, item.pts) for item in out], [item.packet for item in out if item.mended]


LINE = [100 + number / 25 for number in range(301)]
STREAMS = {"plain": plain(LINE), "B-frames": with_b_frames(LINE)}
PLACES = {
    "first": {0},
    "second": {1},
    "lone": {130},
    "two neighbours": {130, 131},
    "each 100": set(range(30, 301, 100)),
    "each 10": set(range(9, 301, 10)),
    "a long burst": set(range(100, 120)),
    "last": {300},
    "last three": {298, 299, 300},
}


@pytest.mark.parametrize("pause_s", [12.0, 40.0, 590.0])
@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_pause_before_the_last_pictures_is_kept(pause_s: float, last: int) -> None:
    """Screen recorders write such a last picture."""
    times = plain([time + pause_s * (number >= 301 - last) for number, time in enumerate(LINE)])
    assert verified(times) == (times, [])


@pytest.mark.parametrize("which", ["pts", "dts", "both"])
@pytest.mark.parametrize("off", [9800.0, -9800.0, 40.0])
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_wrong_times_are_replaced(stream: Times, places: set[int], off: float, which: str) -> None:
    wrong = [
        (dts + off * (number in places and which != "pts"), pts + off * (number in places and which != "dts"))
        for number, (dts, pts) in enumerate(stream)
        if dts is not None and pts is not None
    ]
    if off == 40 and which == "both" and min(places) >= 298:
        return  # a pause before the last pictures, see below
    out, mended = verified(wrong)
    assert set(mended) == places
    for (dts, pts), (right_dts, right_pts) in zip(out, stream, strict=True):
        assert dts == pytest.approx(right_dts, abs=0.01)
        reordered = which == "pts" and len(places) > 1  # of neighbours it is not known which is shown first
        assert pts == pytest.approx(right_pts, abs=0.25 if reordered else 0.13)


def test_times_without_decoding_times_are_replaced() -> None:
    out, mended = verified([(None, time + 9800.0 * (number in (0, 50, 300))) for number, time in enumerate(LINE)])
    assert mended == [0, 50, 300]
    assert [pts for _, pts in out] == pytest.approx(LINE)


def test_if_one_time_goes_on_for_good_the_other_is_wrong() -> None:
    stream = with_b_frames(LINE)
    shifted: Times = [
        (dts, pts + 9800.0 * (number >= 150))
        for number, (dts, pts) in enumerate(stream)
        if pts is not None
    ]  # fmt: skip
    out, mended = verified(shifted)
    assert mended == list(range(150, 301))
    assert [dts for dts, _ in out] == [dts for dts, _ in stream]
    assert all(abs((pts or 0) - (right or 0)) < 0.25 for (_, pts), (_, right) in zip(out, stream, strict=True))


def running(steps: Iterable[float]) -> list[float]:
    return list(itertools.accumulate(steps, initial=0.0))


def random_steps(*choices: float, seed: int) -> list[float]:
    return random.Random(seed).choices(choices, k=300)


RIGHT = {
    **{f"pause of {pause:g} s": running([0.04] * 149 + [pause] + [0.04] * 150) for pause in (30.0, 600.0, 10_800.0)},
    **{f"pause within a group {at}": running([0.04] * at + [600.0] + [0.04] * 100) for at in (150, 151, 152, 153, 154)},
    **{f"one frame in {step} s": running([float(step)] * 60) for step in (20, 60, 300)},
    "night: 25, then a half, then 25 per second": running([0.04] * 100 + [2.0] * 30 + [0.04] * 100),
    **{f"variable, fast {seed}": running(random_steps(0.02, 0.04, 0.1, 0.3, 0.9, seed=seed)) for seed in range(5)},
    **{f"variable, slow {seed}": running(random_steps(0.04, 0.04, 0.5, 2.0, seed=seed)) for seed in range(5)},
    "long pauses": running(random_steps(0.04, 0.04, 0.04, 0.04, 5.0, 60.0, seed=1)),
}


@pytest.mark.parametrize("reorder", [plain, with_b_frames], ids=["plain", "B-frames"])
@pytest.mark.parametrize("shown", RIGHT.values(), ids=RIGHT)
def test_what_is_odd_but_right_is_left_as_it_is(shown: list[float], reorder: "type[object]") -> None:
    times: Times = reorder(shown)  # type: ignore[call-arg, assignment]
    out, mended = verified(times)
    assert (out, mended) == (times, [])


@pytest.mark.parametrize("length", [12, 30, 150])
@pytest.mark.parametrize("begins", [0.0, -4000.0, 9000.0])
def test_recordings_one_after_the_other_are_left_as_they_are(length: int, begins: float) -> None:
    part = with_b_frames([number / 25 for number in range(length)])
    other: Times = [
        ((dts or 0.0) + begins, (pts or 0.0) + begins) for dts, pts in with_b_frames([n / 25 for n in range(200)])
    ]
    out, mended = verified([*part, *other])
    assert (out, mended) == ([*part, *other], [])


def test_if_all_packets_have_one_time_none_of_them_has() -> None:
    out, mended = verified([(7.0, 7.0)] * 100)
    assert out == [(None, None)] * 100  # counted by the rate that the file states
    assert mended == list(range(100))


def test_what_nobody_doubts_does_not_wait() -> None:
    recorded: RecordedTimes[int] = RecordedTimes()
    waiting, most = 0, 0
    for number, time in enumerate(LINE):
        waiting += 1 - len(list(recorded.add(Timed(number, time, time))))
        most = max(most, waiting) if number > 40 else most
    assert (waiting, most) == (0, 0)


def test_packets_that_are_large_wait_for_few() -> None:
    recorded: RecordedTimes[int] = RecordedTimes()
    out = [item for number in range(8) for item in recorded.add(Timed(number, number / 25, number / 25), 6 << 20)]
    assert len(out) >= 2


ROUND_S = 2**33 / 90_000


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        ([5000.0, 5000.04, 1000.0 + ROUND_S, 1000.04 + ROUND_S], [5000.0, 5000.04, 1000.0, 1000.04]),
        ([ROUND_S - 0.04, ROUND_S, ROUND_S + 0.04], [ROUND_S - 0.04, ROUND_S, ROUND_S + 0.04]),
        ([ROUND_S - 60.0, ROUND_S + 10_800.0], [ROUND_S - 60.0, ROUND_S + 10_800.0]),
    ],
    ids=["a clock that began anew", "the end of a round", "a pause across it"],
)
def test_a_clock_that_began_anew_is_no_new_round(stated: list[float], meant: list[float]) -> None:
    wrapped = WrappedTimes(ROUND_S)
    out = [wrapped.unwrapped(Timed(0, time, time)) for time in stated]
    assert [item.dts for item in out] == pytest.approx(meant)
    assert wrapped.found == (stated[-1] != meant[-1])
