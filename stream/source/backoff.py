"""Wait times between attempts to reach a source: exponential, capped, with jitter, without end. Pure, except for the random jitter."""

import random
from typing import Self

from pydantic import Field, model_validator

from afterview.configs import Schema

_MAX_DOUBLINGS = 64  # beyond this every ceiling is long reached; keeps factor**attempt inside a float


class BackoffConfig(Schema):
    """Waits between attempts to reconnect, in seconds."""

    first_s: float = Field(default=0.5, gt=0)  # a camera that lost one connection is usually back at once
    max_s: float = Field(default=30.0, gt=0)  # a rebooted camera is noticed within half a minute
    factor: float = Field(default=2.0, ge=1, le=10)
    jitter: float = Field(
        default=0.3, ge=0, le=1
    )  # share of the wait that is random, so that many cameras do not reconnect in step
    healthy_s: float = Field(default=5.0, ge=0)  # a connection that gave pictures for this long resets the wait

    @model_validator(mode="after")
    def _first_within_max(self) -> Self:
        if self.first_s > self.max_s:
            raise ValueError(f"first_s ({self.first_s:g}) must not exceed max_s ({self.max_s:g})")
        return self


class Backoff:
    """Counts the attempts of one outage and computes the wait before each. Owned by one thread."""

    def __init__(self, config: BackoffConfig, dice: random.Random | None = None) -> None:
        self._config = config
        self._dice = dice or random.Random()
        self.attempt = 0

    def next_delay(self) -> float:
        """Seconds to wait before the next attempt, within [(1 - jitter) * w, w] where w = min(max_s, first_s * factor**attempts)."""
        config = self._config
        wait = min(config.max_s, config.first_s * config.factor ** min(self.attempt, _MAX_DOUBLINGS))
        self.attempt += 1
        return wait * (1 - config.jitter * self._dice.random())

    def connection_ended(self, lasted_s: float) -> None:
        """A connection gave pictures for `lasted_s`. A short connection does not count as recovery, so that a flapping server is spared."""
        if lasted_s >= self._config.healthy_s:
            self.attempt = 0
