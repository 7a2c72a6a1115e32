"""Which clocks of live streams are wrong, and which are right however their packets come."""

import random
from collections.abc import Callable

import pytest

from afterview.stream.source.clocks.clock_check import ClockCheck

At = Callable[[float], float]


def judge(
    stream: At, arrives: At = lambda second: second, *, fps: float = 25, seconds: float = 60
) -> list[tuple[float, str]]:
    """When a check's verdict changed, and to what. Of the frame of a second: its time on the stream's clock, and its arrival."""
    check, dice, now, changes = ClockCheck(), random.Random(0), 0.0, [(0.0, "")]
    for number in range(round(seconds * fps)):
        second = number / fps
        now = max(now, arrives(second) + dice.random() * 0.05)
        problem = check.see(stream(second), now)
        if problem != changes[-1][1]:
            changes.append((now, problem))
    return changes[1:]


@pytest.mark.parametrize(
    ("rate", "within_s", "said"),
    [
        (10, 2, "runs too fast, at 10"),
        (3, 6, "runs too fast, at 3.0"),
        (2, 9, "runs too fast, at 2.0"),
        (1.4, 25, "runs too fast, at 1.4"),
        (0.75, 50, "runs too slow, at 0.8"),
        (0.5, 4, "runs too slow, at 0.5"),
        (0.1, 2.2, "runs too slow, at 0.1"),
        (0, 2, "stands still"),
    ],
)
def test_a_wrong_rate_is_found(rate: float, within_s: float, said: str) -> None:
    ((at, problem),) = judge(lambda second: rate * second)
    assert at < within_s
    assert problem.replace("9.9", "10").replace("9.8", "10").replace("9.7", "10").startswith(said)


@pytest.mark.parametrize("fps", [0.5, 1, 5])
@pytest.mark.parametrize("rate", [0, 3, 10])
def test_a_wrong_rate_is_found_at_few_frames_per_second(fps: float, rate: float) -> None:
    ((at, _),) = judge(lambda second: rate * second, fps=fps)
    assert at <= 6 / fps + 5


@pytest.mark.parametrize("rate", [0.9, 0.96, 1, 1.04, 1.15])
def test_a_clock_that_is_nearly_right_is_used(rate: float) -> None:
    assert judge(lambda second: rate * second, seconds=300) == []


@pytest.mark.parametrize(
    ("jumps", "found"), [([5, 9, 12], True), ([5, 12], False), ([5, 21, 36], False), ([5, 5.4, 6.3], False)]
)
def test_a_clock_that_jumps_again_and_again_is_none(jumps: list[float], found: bool) -> None:
    """Three times within 30 s; jumps less than a second apart are one."""
    check = ClockCheck()
    for second in jumps:
        check.restart()
        check.jumped(second)
    assert (check.problem == "jumps again and again") == found


def test_a_clock_that_jumped_again_and_again_is_used_after_a_calm_minute() -> None:
    check, changes = ClockCheck(), [""]
    for number in range(100 * 10):
        second = number / 10
        if second in (2, 4, 6):
            check.restart()
            check.jumped(second)
        if check.see(second, second) != changes[-1]:
            changes.append(check.problem)
            right = second
    assert changes == ["", "jumps again and again", ""]
    assert 66 <= right <= 69


@pytest.mark.parametrize(
    "arrives",
    [
        lambda second: max(second / 50, second - 10),
        lambda second: max(0.5 * second, second - 4),
        lambda second: 40 if 20 < second < 40 else second,
        lambda second: (
            2 * second - 20 if 20 < second < 24 else max(second, 28 + (second - 24) / 1.2) if second > 24 else second
        ),
        lambda second: second + 2 * (second % 7 < 1),
        lambda second: second - second % 2 + 2,
    ],
    ids=["GOP at the start", "slow catching up", "jam of 20 s", "thin connection", "hiccups", "in lumps of 2 s"],
)
def test_no_way_of_arriving_makes_a_right_clock_wrong(arrives: At) -> None:
    assert judge(lambda second: second, arrives, seconds=120) == []


def test_a_clock_that_is_right_again_is_used_again_after_ten_seconds_and_not_before() -> None:
    (found, _), (again, problem) = judge(lambda second: 10 * second if second < 20 else 180 + second)
    assert found < 2
    assert problem == ""
    assert 30 <= again < 32
    (_,) = judge(
        lambda second: second if second % 8 < 4 else second - second % 8 + 4, seconds=200
    )  # right for seconds only
