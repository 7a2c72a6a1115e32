"""Waits between attempts: they grow, are capped, vary, and begin afresh only after a connection that was good for something."""

import random

import pytest

from afterview.configs import ConfigError
from afterview.configs.loader import load_mapping
from afterview.stream.source.backoff import Backoff, BackoffConfig


class Dice(random.Random):
    """Always the same throw."""

    def __init__(self, throw: float) -> None:
        super().__init__()
        self._throw = throw

    def random(self) -> float:
        return self._throw


def test_waits_double_up_to_the_cap_and_stay_there() -> None:
    backoff = Backoff(BackoffConfig(first_s=1, max_s=10, jitter=0))
    assert [backoff.next_delay() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    assert backoff.attempt == 6


def test_for_ever_means_for_ever() -> None:
    backoff = Backoff(BackoffConfig(first_s=1, max_s=30, jitter=0))
    for _ in range(5000):
        delay = backoff.next_delay()
    assert delay == 30


def test_jitter_only_shortens_so_the_cap_holds() -> None:
    config = BackoffConfig(first_s=4, max_s=4, jitter=0.25)
    assert Backoff(config, Dice(0.0)).next_delay() == 4
    assert Backoff(config, Dice(1.0)).next_delay() == 3


def test_two_cameras_do_not_return_in_step() -> None:
    first, second = (Backoff(BackoffConfig(), random.Random(seed)) for seed in (1, 2))
    assert first.next_delay() != second.next_delay()


def test_a_healthy_connection_begins_afresh_and_a_flapping_one_does_not() -> None:
    backoff = Backoff(BackoffConfig(first_s=1, max_s=60, jitter=0, healthy_s=5))
    backoff.next_delay()
    backoff.connection_ended(lasted_s=4.9)
    assert backoff.next_delay() == 2
    backoff.connection_ended(lasted_s=5.0)
    assert backoff.next_delay() == 1


@pytest.mark.parametrize(
    ("values", "named"),
    [({"first_s": 40}, "40.*30"), ({"jitter": 1.5}, "jitter"), ({"factr": 2}, "factor"), ({"max_s": 0}, "max_s")],
)
def test_a_wrong_configuration_is_refused_by_name(values: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_mapping(values, BackoffConfig, source="live.yaml")
