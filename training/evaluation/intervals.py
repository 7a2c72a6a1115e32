"""Shares and means with 95 % intervals, and differences of paired answers. Pure.

For right and wrong: Wilson (1927) for shares, Newcombe's hybrid of two such intervals (1998, method 10) and McNemar's exact test for paired
differences. For other scores: a seeded bootstrap over items.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from afterview.training.base.shares import wilson

_RESAMPLES: Final = 2000
_SEED: Final = 28  # of every bootstrap: the same answers give the same interval
_AT_ONCE: Final = 4_000_000  # numbers that a bootstrap draws together


@dataclass(frozen=True)
class Share:
    """`right` of `asked`, with the 95 % confidence interval of the true share (Wilson 1927)."""

    right: int
    asked: int

    @property
    def value(self) -> float:
        """The share. NaN if nothing was asked."""
        return self.right / self.asked if self.asked else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return wilson(self.right, self.asked)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        low, high = self.interval
        return {"accuracy": rounded(self.value), "low": round(low, 4), "high": round(high, 4), "asked": self.asked}


@dataclass(frozen=True)
class Mean:
    """The mean of n scores from 0 to 1 with its 95 % interval. method: how the interval was computed."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; no value where nothing was scored."""
        return {
            "value": rounded(self.value), "low": round(self.low, 4), "high": round(self.high, 4), "n": self.n,
            "interval": self.method,
        }  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """How much higher the second of two paired lists of scores is. p: McNemar's exact test, two-sided; None for scores other than 0 and 1.

    better, worse: pairs in which the second is higher, lower. method: how the interval was computed.
    """

    value: float
    low: float
    high: float
    n: int
    better: int
    worse: int
    p: float | None
    method: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "difference": rounded(self.value), "low": round(self.low, 4), "high": round(self.high, 4), "n": self.n,
            "better": self.better, "worse": self.worse, "p": None if self.p is None else float(f"{self.p:.4g}"), "interval": self.method,
        }  # fmt: skip


def mean_of(scores: Sequence[float]) -> Mean:
    """The mean: Wilson's interval if all scores are 0 or 1, else a bootstrap's."""
    if not scores:
        return Mean(math.nan, 0.0, 1.0, 0, "none")
    if is_binary(scores):
        share = Share(sum(map(int, scores)), len(scores))
        return Mean(share.value, *share.interval, len(scores), "wilson")
    if len(scores) == 1:  # one score says nothing about others
        return Mean(scores[0], 0.0, 1.0, 1, "none")
    value, low, high = _bootstrap(scores)
    return Mean(value, low, high, len(scores), "bootstrap")


def difference_of(first: Sequence[float], second: Sequence[float]) -> Difference:
    """second - first of the same items, in the same order. Raises ValueError if their numbers differ or are 0."""
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} scores cannot be paired")
    steps = [b - a for a, b in zip(first, second, strict=True)]
    better, worse = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    if is_binary(first) and is_binary(second):
        low, high = _newcombe(sum(map(int, first)), better, worse, len(steps))
        value, p = (better - worse) / len(steps), _mcnemar(better, worse)
        return Difference(value, low, high, len(steps), better, worse, p, "newcombe")
    if len(set(steps)) == 1:  # equal steps say nothing about others
        return Difference(steps[0], -1.0, 1.0, len(steps), better, worse, None, "none")
    value, low, high = _bootstrap(steps)
    return Difference(value, low, high, len(steps), better, worse, None, "bootstrap")


def is_binary(scores: Sequence[float]) -> bool:
    """Whether all scores are 0 or 1."""
    return all(score in (0, 1) for score in scores)


def rounded(value: float) -> float | None:
    """For JSON: four places, None for NaN."""
    return None if math.isnan(value) else round(value, 4)


def _bootstrap(scores: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the 2.5th and 97.5th percentile of the means of resampled items."""
    values, rng = np.asarray(scores, dtype=np.float64), np.random.default_rng(_SEED)
    together = max(1, _AT_ONCE // len(values))
    means: list[float] = []
    while len(means) < _RESAMPLES:
        drawn = rng.integers(0, len(values), (min(together, _RESAMPLES - len(means)), len(values)))
        means += values[drawn].mean(axis=1).tolist()
    low, high = np.percentile(means, (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def _newcombe(first: int, better: int, worse: int, n: int) -> tuple[float, float]:
    """The 95 % interval of the difference of two paired shares. first: right ones of the first list. A bootstrap's is too narrow where few
    pairs differ: of 20 pairs that all agree it would be none at all.
    """
    second = first + better - worse
    (low_a, high_a), (low_b, high_b) = wilson(first, n), wilson(second, n)
    share_a, share_b = first / n, second / n
    both, neither = first - worse, n - first - better
    margins = first * (n - first) * second * (n - second)
    agreement: float = both * neither - better * worse
    agreement = max(agreement - n / 2, 0.0) if agreement > 0 else agreement
    correlation = agreement / math.sqrt(margins) if margins else 0.0

    def reach(b: float, a: float) -> float:
        return math.sqrt(max(0.0, b * b - 2 * correlation * a * b + a * a))

    value = share_b - share_a
    low = value - reach(share_b - low_b, high_a - share_a)
    return low, value + reach(high_b - share_b, share_a - low_a)


def _mcnemar(better: int, worse: int) -> float:
    """Two-sided exact probability of so uneven a split of the pairs that differ, if both were equally good."""
    n, fewer = better + worse, min(better, worse)
    if n == 0:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(fewer + 1)
    ]
    return min(1.0, 2 * sum(map(math.exp, logs)))
