"""When cameras of a service fail, and when the service is killed: a seeded plan. Pure."""

import random
from itertools import pairwise

from tests.support.soak_schedule import Window

CAMERAS = tuple(f"cam-{number}" for number in range(1, 9))
KINDS = ("killed", "frozen", "other size", "wrong password")
LENGTHS_S = {"killed": (5.0, 90.0), "frozen": (4.0, 90.0), "other size": (0.0, 0.0), "wrong password": (20.0, 120.0)}
KILLS_PER_HOUR = 10
_BEGIN_S = 15.0
_PAUSE_S = (65.0, 170.0)  # at least as long as a camera may take to come back
_END_S = 65.0
_QUICK_S = (2.0, 25.0)  # from one kill of the service to the next, of those that come while it starts
_LEAST_LIFE_S = 60.0


def outages(run_s: float, seed: int) -> list[Window]:
    """Of all cameras, ascending by start. A short run has shorter ones; each kind comes, from two minutes on."""
    share = min(1.0, max(0.3, run_s / 3600))
    windows = [
        window for place, camera in enumerate(CAMERAS) for window in _of_camera(camera, place, run_s, share, seed)
    ]
    return sorted(windows, key=lambda window: window.start)


def _of_camera(camera: str, place: int, run_s: float, share: float, seed: int) -> list[Window]:
    dice = random.Random(f"{seed} {camera}")
    windows: list[Window] = []
    now = _BEGIN_S + dice.uniform(0, 60) * min(1.0, run_s / 3600)
    kinds = [KINDS[place % len(KINDS)]]
    while True:
        low, high = LENGTHS_S[kinds[0]]
        end = now + max(min(low, 6.0), dice.uniform(low, high) * share)
        if end > run_s - _END_S:
            return windows
        windows.append(Window(camera, kinds.pop(0), now, end))
        if not kinds:
            kinds = dice.sample(KINDS, len(KINDS))
        now = end + dice.uniform(*_PAUSE_S)


def kills(run_s: float, seed: int) -> list[float]:
    """When the service is killed: in the first half of the run, two of ten soon after the one before, while it starts."""
    dice = random.Random(f"{seed} kills")
    count = max(1, round(KILLS_PER_HOUR * run_s / 3600))
    quick = round(count / 5)
    first, last = max(0.05 * run_s, 30.0), 0.5 * run_s - 30.0
    slack = (last - first) - _LEAST_LIFE_S * (count - quick - 1)
    if slack < 0:
        raise ValueError(f"{run_s:g} s are too short for {count} kills")
    moments = [
        first + place * _LEAST_LIFE_S + extra
        for place, extra in enumerate(sorted(dice.uniform(0, slack) for _ in range(count - quick)))
    ]
    moments += [moment + dice.uniform(*_QUICK_S) for moment in dice.sample(moments, quick)]
    assert all(after > before for before, after in pairwise(sorted(moments)))
    return sorted(moments)
