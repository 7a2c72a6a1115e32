"""When each odd camera of the soak test is faulty, and how: a seeded plan of windows. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

BEGIN_S = 60.0  # all cameras are right so long at the start ...
END_S = 240.0  # ... and at the end, in a run of an hour or more
LEAST_S = 6.0  # the shortest part of a shortened run


@dataclass(frozen=True)
class Window:
    """A camera has a fault from `start` to `end`, seconds from the start of the run."""

    camera: str
    fault: str
    start: float
    end: float


@dataclass(frozen=True)
class Plan:
    """Faults of one camera, in turn, with pauses between them. faulty_s, right_s: least and most seconds of each."""

    faults: Sequence[str]
    faulty_s: tuple[float, float] = (180.0, 360.0)
    right_s: tuple[float, float] = (180.0, 360.0)
    fixed: bool = False  # its faults are as long in a shortened run


PLANS = {
    "rtp-clock": Plan(("10 times", "3 times", "half", "stuck")),
    "outliers": Plan(("outliers",)),
    "clock-jumps": Plan(("jumps",)),
    "raw-tcp": Plan(("server down",), (8, 60), (60, 180), fixed=True),
    "loss": Plan(("2 % loss",)),
    "mjpeg": Plan(("dialect", "0.5 fps", "dialect", "0.2 fps", "dialect", "1 fps"), (60, 180), (60, 180)),
    "far-key": Plan(("disconnected",), (2, 10), (90, 240), fixed=True),
    "refusals": Plan(("453", "503", "401", "port closed", "frozen", "half-open"), (60, 240), (120, 300)),
    "hls": Plan(("discontinuity", "packager restart"), (12, 40), (60, 180), fixed=True),
    "time-lapse": Plan(("1 frame in 5 s",)),
    "changing": Plan(("other size", "two tracks", "other size and two tracks")),
}


def schedule(run_s: float, seed: int = 22) -> list[Window]:
    """Windows of all cameras, ascending by start. A run of less than an hour has shorter windows, so that faults still come and go."""
    share = min(1.0, run_s / 3600)
    windows = [window for camera, plan in PLANS.items() for window in _of(camera, plan, run_s, share, seed)]
    return sorted(windows, key=lambda window: window.start)


def _of(camera: str, plan: Plan, run_s: float, share: float, seed: int) -> list[Window]:
    dice = random.Random(f"{seed} {camera}")
    windows: list[Window] = []
    now, number = max(20.0, BEGIN_S * share) + dice.uniform(0, plan.right_s[0]) * share, 0
    while True:
        long_s = dice.uniform(*plan.faulty_s)
        end = now + (long_s if plan.fixed else max(LEAST_S, long_s * share))
        if end > run_s - max(45.0, END_S * share):
            return windows
        windows.append(Window(camera, plan.faults[number % len(plan.faults)], now, end))
        number += 1
        now = end + max(3 * LEAST_S, dice.uniform(*plan.right_s) * share)
