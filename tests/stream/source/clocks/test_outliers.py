"""Lone wrong times are mended; jumps, long steps and packets out of order are left as they are."""

from collections.abc import Sequence

import pytest

from afterview.stream.source.clocks.outliers import Outliers, Timed


def verified(
    times: Sequence[float | None], *, dts: Sequence[float | None] | None = None, live: bool = False
) -> list[Timed[int]]:
    """What becomes of packets with these presentation times; live: they arrive at 25 per second."""
    outliers: Outliers[int] = Outliers()
    out: list[Timed[int]] = []
    for number, pts in enumerate(times):
        item = Timed(number, None if dts is None else dts[number], pts, number / 25 if live else None)
        out += outliers.add(item)
    out += outliers.rest()
    assert [item.packet for item in out] == list(range(len(times)))  # none is lost, none overtakes
    return out


LINE = [number / 25 for number in range(200)]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("off", [9800.0, 3.0, -3.0, -9800.0])
@pytest.mark.parametrize("wrong", [[70, 140], [70, 71], [70, 72, 74, 76], [3]])
def test_a_lone_wrong_time_is_mended(live: bool, off: float, wrong: list[int]) -> None:
    times: list[float | None] = [time + off * (number in wrong) for number, time in enumerate(LINE)]
    out = verified(times, live=live)
    assert [item.pts for item in out] == pytest.approx(LINE)
    assert [item.packet for item in out if item.mended] == wrong
    assert not any(item.jumped for item in out)


def test_if_only_the_presentation_time_is_off_it_is_wrong_whatever_comes_next() -> None:
    dts: list[float | None] = [time - 0.08 for time in LINE]
    off = [time + 9800.0 * (number >= 195) for number, time in enumerate(LINE)]
    out = verified(off, dts=dts)
    assert [item.pts for item in out] == pytest.approx(LINE)
    assert [item.dts for item in out] == dts


def test_if_both_times_are_off_both_are_mended() -> None:
    shifted: list[float | None] = [time + 50.0 * (number == 60) for number, time in enumerate(LINE)]
    out = verified(shifted, dts=[None if time is None else time - 0.08 for time in shifted])
    assert [item.pts for item in out] == pytest.approx(LINE)
    assert [item.dts for item in out] == pytest.approx([time - 0.08 for time in LINE])


@pytest.mark.parametrize("jump", [5.0, 9800.0, -2.0])
def test_a_jump_is_left_as_it_is_and_said(jump: float) -> None:
    times: list[float | None] = [time + jump * (number >= 100) for number, time in enumerate(LINE)]
    out = verified(times)
    assert [item.pts for item in out] == times
    assert [item.packet for item in out if item.jumped] == [100]
    assert not any(item.mended for item in out)


@pytest.mark.parametrize(
    "times",
    [
        [20.0 * number for number in range(10)],
        [0.0, 0.04, 1.5, 1.54, 1.58, 40.0, 40.04, 41.5, 43.0, 43.04, 44.0],
        [0.0, 0.16, 0.08, 0.04, 0.12, 0.32, 0.24, 0.2, 0.28],
        [0.0, 4.0, 2.0, 1.0, 3.0, 8.0, 6.0, 5.0, 7.0],
        [None, None, 5.0, 5.04, None, 5.12],
        [0.0, 0.04, 0.08, 700.0],
    ],
    ids=["time-lapse", "variable rate", "B-frames", "slow B-frames", "without times", "a long last step"],
)
def test_times_that_are_odd_but_right_are_left_as_they_are(times: list[float | None]) -> None:
    out = verified(times)
    assert [item.pts for item in out] == times
    assert not any(item.mended for item in out)


def test_a_pause_of_a_live_stream_is_no_jump() -> None:
    outliers: Outliers[int] = Outliers()
    out = [item for time in (0.0, 0.04, 0.08, 60.0, 60.04) for item in outliers.add(Timed(0, None, time, time))]
    assert len(out) == 5
    assert not any(item.jumped for item in out)
