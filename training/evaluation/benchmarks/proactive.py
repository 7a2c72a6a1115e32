"""What a proactive task counts: of polls as the official harness does, of a standing question by its alarms. Pure.

An alarm within two seconds of a moment of the truth is on time. A moment has one alarm: a further one near it is repeated, one near no
moment is a false alarm. Lag is the time of an alarm less that of the truth; where the truth is a span, less that of its beginning.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np

from afterview.training.evaluation.results import Row

ON_TIME_S: Final = 2.0  # StreamingBench: an output counts within so many seconds of the truth
_PERCENTILES: Final = (50, 95, 99)
Truths = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Alarms:
    """The alarms of one standing question against its truth. lags_s: of each moment, None where it was missed."""

    lags_s: tuple[float | None, ...]
    false: int
    repeated: int
    first_on_time: bool

    @property
    def found(self) -> int:
        """Moments with an alarm on time."""
        return sum(lag is not None for lag in self.lags_s)

    def scores(self) -> dict[str, float]:
        """`standing time` is the rule of the polls: the first alarm counts. Precision needs an alarm, recall a moment."""
        scores = {"standing time": float(self.first_on_time)}
        if self.lags_s:
            scores["standing recall"] = self.found / len(self.lags_s)
        if alarms := self.found + self.false + self.repeated:
            scores["standing precision"] = self.found / alarms
        return scores


def judge_alarms(alarms: Sequence[float], truths: Truths) -> Alarms:
    """Alarms ascend. Each is of the earliest moment near it that has none yet."""
    lags: list[float | None] = [None] * len(truths)
    false = repeated = 0
    for alarm in alarms:
        near = [place for place, truth in enumerate(truths) if is_on_time(alarm, truth)]
        free = [place for place in near if lags[place] is None]
        if free:
            lags[free[0]] = round(alarm - truths[free[0]][0], 3)
        elif near:
            repeated += 1
        else:
            false += 1
    first = bool(alarms) and any(is_on_time(alarms[0], truth) for truth in truths)
    return Alarms(tuple(lags), false, repeated, first)


def is_on_time(time: float, truth: tuple[float, float]) -> bool:
    """Whether a moment lies in the span of a truth, give or take ON_TIME_S."""
    return truth[0] - ON_TIME_S <= time <= truth[1] + ON_TIME_S


def proactive_summary(rows: Iterable[Row]) -> dict[str, Any]:
    """Both ways side by side, over all rows that have them; empty without. Of the polls too early is a false alarm."""
    every = list(rows)
    found: dict[str, Any] = {}
    for rule in ("strict", "official"):
        own = [row.details["polled_lag_s"][rule] for row in every if "polled_lag_s" in row.details]
        if own:
            found[f"polled {rule}"] = _polled(own)
    if standing := [row.details["standing"] for row in every if "standing" in row.details]:
        found["standing"] = _standing(standing)
    return found


def _polled(lags: Sequence[float | None]) -> dict[str, Any]:
    said = [lag for lag in lags if lag is not None]
    on_time = [lag for lag in said if abs(lag) <= ON_TIME_S]
    return {
        "questions": len(lags), "moments": len(lags), "found": len(on_time), "missed": len(lags) - len(on_time),
        "false_alarms": sum(lag < -ON_TIME_S for lag in said), "late": sum(lag > ON_TIME_S for lag in said),
        "lag_s": percentiles(on_time),
    }  # fmt: skip


def _standing(logs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lags = [lag for log in logs for lag in log["lags_s"]]
    on_time = [lag for lag in lags if lag is not None]
    watched = sum(log["watched_s"] for log in logs)
    false = sum(log["false_alarms"] for log in logs)
    return {
        "questions": len(logs), "moments": len(lags), "found": len(on_time), "missed": len(lags) - len(on_time),
        "false_alarms": false, "repeated_alarms": sum(log["repeated_alarms"] for log in logs),
        "false_alarms_per_hour": round(3600 * false / watched, 3) if watched else None,
        "watched_s": round(watched, 3), "checks": sum(log["checks"] for log in logs),
        "unclear": sum(log["unclear"] for log in logs), "check_s": _median([log["check_s"] for log in logs]),
        "lag_s": percentiles(on_time),
    }  # fmt: skip


def percentiles(values: Sequence[float | None]) -> dict[str, float] | None:
    """p50, p95 and p99 of the known ones; None without any."""
    known = [value for value in values if value is not None]
    return {f"p{p}": round(float(np.percentile(known, p)), 4) for p in _PERCENTILES} if known else None


def _median(values: Sequence[float]) -> float | None:
    own = [value for value in values if math.isfinite(value)]
    return round(median(own), 4) if own else None
