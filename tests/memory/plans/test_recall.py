"""Which frames MemAug attends to: all within the budget, a bounded and explainable choice beyond it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterview.configs import ConfigError
from afterview.memory.plans.recall import RecallConfig, apart, plan_recall


@st.composite
def situations(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray, RecallConfig]:
    frames = draw(st.integers(1, 3000))
    budget = draw(st.integers(1, 400))
    count = draw(st.integers(1, max(1, min(budget, frames))))
    decayed = np.linspace(0, frames - 1, count, dtype=int)
    nearest = np.array(draw(st.lists(st.integers(0, frames - 1), max_size=60, unique=True)), dtype=np.int64)
    config = RecallConfig(
        budget=budget,
        window=draw(st.integers(0, 80)),
        nearest=draw(st.integers(0, 80)),
        neighbours=draw(st.integers(0, 3)),
    )
    return frames, decayed, nearest, config


@given(situations())
@settings(deadline=None)
def test_budget_order_and_decayed_frames(situation: tuple[int, np.ndarray, np.ndarray, RecallConfig]) -> None:
    frames, decayed, nearest, config = situation
    plan = plan_recall(frames, decayed, nearest, config)
    assert (np.diff(plan.frames) > 0).all()
    assert plan.frames[0] >= 0
    assert plan.frames[-1] < frames
    assert set(decayed.tolist()) <= set(plan.frames.tolist())
    if frames <= config.budget:
        assert plan.mode == "full"
        np.testing.assert_array_equal(plan.frames, np.arange(frames))
    else:
        assert plan.mode == "bounded"
        assert len(plan.frames) == config.budget  # the budget is used whole


def test_classes_come_in_their_order() -> None:
    config = RecallConfig(budget=12, window=4, nearest=2, neighbours=1)
    plan = plan_recall(1000, np.array([0, 999]), np.array([500, 300, 700]), config)
    assert {0, 999, 998, 997, 996, 500, 499, 501, 300, 299, 301} <= set(plan.frames.tolist())  # 700 is beyond `nearest`
    assert 700 not in plan.frames
    assert len(plan.frames) == 12
    tight = plan_recall(1000, np.array([0, 999]), np.array([500]), RecallConfig(budget=4, window=4, nearest=2))
    assert tight.frames.tolist() == [0, 997, 998, 999]


def test_a_budget_below_the_visible_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="10 frames cannot hold the 20 visible"):
        plan_recall(1000, np.arange(20), np.empty(0, dtype=np.int64), RecallConfig(budget=10))


@given(st.permutations(range(60)), st.integers(1, 20))
@settings(deadline=None, max_examples=30)
def test_frames_beside_a_better_one_are_left_out(order: list[int], most: int) -> None:
    kept = apart(np.array(order, dtype=np.int64), 60, most).tolist()
    gap = max(1, 60 // (4 * most))
    for number in order:
        better = [other for other in kept if order.index(other) < order.index(number)]
        beside = any(abs(number - other) < gap for other in better)
        assert (number in kept) == (not beside)


def test_very_many_frames_are_parted_in_a_moment() -> None:
    assert len(apart(np.arange(200_000), 200_000, 200_000)) == 200_000
