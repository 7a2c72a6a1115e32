"""Layouts: what is a key, what is a query, and where each stands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterview.configs import ConfigError
from afterview.memory.plans.positions import VideoLayout, plan_layout, position_numbers
from afterview.memory.plans.visibility import ForgettingConfig, plan_visible

UNIFORM = ForgettingConfig(spatial="uniform")


def span_frames_of(layout: VideoLayout) -> np.ndarray:
    return layout.key_rows[layout.visible]


@pytest.mark.parametrize(
    ("frames", "queries", "keys", "last_key"),
    [(40, 544, 8320, 8319), (149, 629, 9685, 9684), (300, 1275, 19_500, 19_499), (3600, 8704, 234_000, 233_999)],
)
def test_the_papers_sizes(frames: int, queries: int, keys: int, last_key: int) -> None:
    layout = plan_layout(frames, config=UNIFORM)
    key_ids = layout.key_position_ids()
    assert len(layout.query_position_ids()) == queries
    assert len(key_ids) == keys
    assert key_ids[-1] == last_key
    np.testing.assert_array_equal(key_ids, np.arange(keys))


def test_a_kept_token_keeps_its_own_position() -> None:
    layout = plan_layout(300, config=UNIFORM)
    ids = layout.query_position_ids().reshape(75, 17)
    frame = layout.visible[10]
    np.testing.assert_array_equal(ids[10, :-1], 65 * frame + layout.cells[10])
    assert ids[10, -1] == 65 * frame + 64


def test_a_short_video_is_repeated_and_its_weights_folded_back() -> None:
    layout = plan_layout(36, config=UNIFORM)
    assert len(layout.key_rows) == 128
    assert layout.rows == 36
    weights = layout.fold(np.full(128, 1 / 128))
    assert weights.shape == (36,)
    np.testing.assert_allclose(weights, np.bincount(layout.key_rows) / 128)


spans = st.integers(1, 5000)
budgets = st.integers(0, 400)


@settings(max_examples=60, deadline=None)
@given(spans, budgets, st.sampled_from(["true", "interpolate", "rank"]), st.integers(0, 2**40))
def test_recall_changes_the_keys_and_never_the_queries(frames: int, extra: int, policy: str, first_id: int) -> None:
    """What is visible, its cells and (but for 'rank') its positions depend on the span alone."""
    config = ForgettingConfig(spatial="random")
    arguments = {"config": config, "policy": policy, "frame_ids": first_id, "random_constant": 3}
    everything = plan_layout(frames, **arguments)
    others = np.random.default_rng(frames).choice(frames, min(extra, frames), replace=False)
    recalled = np.union1d(span_frames_of(everything), others)
    some = plan_layout(frames, recalled, **arguments)
    np.testing.assert_array_equal(recalled[span_frames_of(some)], span_frames_of(everything))
    np.testing.assert_array_equal(some.cells, everything.cells)
    if policy != "rank":
        np.testing.assert_array_equal(some.query_position_ids(), everything.query_position_ids())
    assert np.isin(some.query_position_ids(), some.key_position_ids()).all()
    assert some.rows == len(recalled)
    assert (np.diff(some.key_numbers) > 0).all()


def test_visible_frames_that_were_not_recalled_are_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"75 frames are visible but 72 of them are not among the 10 recalled"):
        plan_layout(300, np.arange(10), config=UNIFORM)
    with pytest.raises(ConfigError, match="ascend within the span of 300"):
        plan_layout(300, np.array([5, 4]), config=UNIFORM)
    with pytest.raises(ConfigError, match="300 frames but 7 frame ids"):
        plan_layout(300, config=UNIFORM, frame_ids=np.arange(7))


@given(st.integers(2, 3600), st.sampled_from(["true", "interpolate", "rank"]))
def test_a_span_that_fits_the_training_has_true_positions(frames: int, policy: str) -> None:
    slots = np.arange(0, frames, 3)
    np.testing.assert_array_equal(position_numbers(slots, frames, policy), slots)


@given(st.integers(3601, 10**8))
def test_interpolation_ends_at_the_last_number_seen_in_training(frames: int) -> None:
    ends = position_numbers(np.array([0, frames - 1]), frames, "interpolate")
    np.testing.assert_allclose(ends, [0, 3599])


def test_policies_beyond_the_training() -> None:
    slots = np.array([0, 4000, 7999])
    np.testing.assert_array_equal(position_numbers(slots, 8000, "true"), slots)
    np.testing.assert_array_equal(position_numbers(slots, 8000, "rank"), [0, 1, 2])


@given(st.integers(1, 600), st.integers(1, 300))
def test_live_forgets_as_a_recording_of_its_first_seconds_would(seconds: int, first_id: int) -> None:
    """Rolling forgetting: the layout at second T is that of the first T seconds, whatever came or comes besides."""
    config = ForgettingConfig(spatial="random", temporal="random", max_frames=40)
    live = plan_layout(seconds, config=config, frame_ids=first_id, random_constant=9)
    ids = np.arange(first_id, first_id + seconds + 50)[:seconds]
    recording = plan_layout(seconds, config=config, frame_ids=ids, random_constant=9)
    np.testing.assert_array_equal(live.visible, recording.visible)
    np.testing.assert_array_equal(live.cells, recording.cells)


def test_explicit_visible_frames() -> None:
    config = ForgettingConfig(temporal="keyframe")
    with pytest.raises(ConfigError, match="frame vectors"):
        plan_layout(300, config=config)
    chosen = plan_visible(300, config, frame_vectors=np.random.default_rng(0).standard_normal((300, 4)))
    np.testing.assert_array_equal(plan_layout(300, visible=chosen, config=config).visible, chosen)


@pytest.mark.parametrize(("scale", "keys"), [(1.0, 400), (0.5, 200), (0.25, 100)])
def test_repository_scale_thins_the_keys_but_keeps_the_visible(scale: float, keys: int) -> None:
    config = ForgettingConfig(spatial="uniform", repository_scale=scale)
    layout = plan_layout(400, config=config)
    whole = plan_layout(400, config=UNIFORM)
    assert len(layout.key_rows) == keys
    np.testing.assert_array_equal(layout.query_position_ids(), whole.query_position_ids())
    assert np.isin(layout.key_position_ids(), whole.key_position_ids()).all()


def test_the_smallest_repository_is_the_decayed_tokens() -> None:
    config = ForgettingConfig(spatial="uniform", repository_scale=0.0625)
    layout = plan_layout(400, config=config)
    np.testing.assert_array_equal(layout.key_position_ids(), layout.query_position_ids())
    assert layout.key_tokens_per_frame == 17


def test_a_small_repository_that_holds_more_than_the_visible_frames_has_all_their_tokens() -> None:
    """With few visible frames (the built-in preset, or hours of video) even a fifth is more than they are."""
    config = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2, repository_scale=0.2)
    layout = plan_layout(500, config=config)
    assert (len(layout.key_rows), layout.key_tokens_per_frame) == (100, 65)
    assert len(layout.key_tokens()) == len(layout.key_position_ids()) == 100 * 65
    assert np.isin(layout.query_position_ids(), layout.key_position_ids()).all()
