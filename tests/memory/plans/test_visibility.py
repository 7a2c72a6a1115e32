"""Forgetting: properties that hold for every video, and the numbers of the published code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterview.configs import ConfigError
from afterview.configs.loader import load_mapping
from afterview.memory.plans.visibility import (
    ForgettingConfig,
    neighbour_similarity,
    occurrences,
    plan_cells,
    plan_repetition,
    plan_temporal_forgetting,
    plan_visible,
    uniform_cells,
)

PAPER = {"ratio": 4, "minimum": 32, "maximum": 512}
frames_of_videos = st.integers(1, 20_000)
configs = st.builds(
    ForgettingConfig,
    spatial=st.sampled_from(["uniform", "random"]),
    spatial_ratio=st.sampled_from([1, 2, 4, 8, 16]),
    temporal=st.sampled_from(["uniform", "random", "keyframe", "question-guided"]),
    temporal_ratio=st.integers(1, 16),
    min_frames=st.integers(2, 40),
    max_frames=st.integers(40, 600),
)


def visible(frames: int, config: ForgettingConfig, first_id: int = 0, constant: int = 7) -> np.ndarray:
    vectors = np.random.default_rng(frames).standard_normal((frames, 5))
    return plan_visible(
        frames,
        config,
        frame_ids=first_id,
        random_constant=constant,
        frame_vectors=vectors,
        question_vector=np.arange(5.0),
    )


@pytest.mark.parametrize(("frames", "kept"), [(1, 32), (40, 32), (128, 32), (300, 75), (3600, 512), (100_000, 512)])
def test_the_papers_counts(frames: int, kept: int) -> None:
    assert len(plan_temporal_forgetting(frames, **PAPER)) == kept


@given(frames_of_videos)
def test_uniform_keeps_both_ends_and_ascends(frames: int) -> None:
    slots = plan_temporal_forgetting(frames, **PAPER)
    assert slots[0] == 0
    assert slots[-1] == max(frames, 128) - 1
    assert (np.diff(slots) > 0).all()


@pytest.mark.parametrize("frames", [149, 160, 301])
def test_uniform_is_the_float64_linspace(frames: int) -> None:
    expected = [int(i * (frames - 1) / (frames // 4 - 1)) for i in range(frames // 4)]
    assert np.abs(plan_temporal_forgetting(frames, **PAPER) - expected).max() <= 1
    np.testing.assert_array_equal(
        plan_temporal_forgetting(frames, **PAPER), np.linspace(0, frames - 1, frames // 4).astype(int)
    )


@given(st.integers(1, 400), st.integers(1, 400))
def test_repetition_shows_every_frame_of_a_short_video(frames: int, shortest: int) -> None:
    shown = plan_repetition(frames, shortest=shortest)
    assert len(shown) == max(frames, shortest)
    np.testing.assert_array_equal(np.unique(shown), np.arange(frames))
    assert (np.diff(shown) >= 0).all()


def test_no_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 frames"):
        plan_repetition(0, shortest=128)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1500), configs)
def test_every_rule_keeps_the_same_number_ascending(frames: int, config: ForgettingConfig) -> None:
    slots = visible(frames, config)
    total = max(frames, config.min_frames * config.temporal_ratio)
    assert len(slots) == min(config.max_frames, total // config.temporal_ratio)
    assert len(slots) >= config.min_frames
    assert (np.diff(slots) > 0).all()
    assert 0 <= slots[0] <= slots[-1] < total


def test_random_frames_are_drawn_by_id_not_by_call() -> None:
    config = ForgettingConfig(temporal="random")
    np.testing.assert_array_equal(visible(1000, config, first_id=50), visible(1000, config, first_id=50))
    assert not np.array_equal(visible(1000, config, constant=1), visible(1000, config, constant=2))
    assert not np.array_equal(visible(1000, config, first_id=0), visible(1000, config, first_id=1))
    contiguous = visible(600, config, first_id=9)
    listed = plan_visible(600, config, frame_ids=np.arange(9, 609), random_constant=7)
    np.testing.assert_array_equal(contiguous, listed)


def test_random_frames_stay_put_while_the_stream_grows() -> None:
    """At a fixed count, a frame once forgotten never comes back: only newcomers displace."""
    config = ForgettingConfig(temporal="random", max_frames=64)
    for frames in range(300, 400):
        before, after = set(visible(frames, config)), set(visible(frames + 1, config))
        assert after <= before | {frames}


def test_random_frames_are_spread_evenly() -> None:
    config = ForgettingConfig(temporal="random", max_frames=5000)
    slots = visible(8000, config)
    counts, _ = np.histogram(slots, bins=8, range=(0, 8000))
    assert np.abs(counts - 250).max() < 60  # 250 expected, standard deviation about 14


def test_gaps_in_ids_do_not_disturb_a_frames_draw() -> None:
    ids = np.concatenate([np.arange(200), np.arange(5000, 5200)])
    config = ForgettingConfig(temporal="random", temporal_ratio=1, spatial="random")
    repeats = np.zeros(400, dtype=np.int64)
    listed = plan_cells(ids, repeats, config, random_constant=3, grid=8)
    alone = plan_cells(ids[300:], repeats[300:], config, random_constant=3, grid=8)
    np.testing.assert_array_equal(listed[300:], alone)


def test_keyframes_are_the_least_like_their_neighbours() -> None:
    vectors = np.tile(np.array([1.0, 0.0]), (200, 1))
    vectors[[17, 90, 150]] = [0.0, 1.0]
    slots = plan_visible(200, ForgettingConfig(temporal="keyframe", max_frames=50), frame_vectors=vectors)
    assert {17, 90, 150} <= set(slots)


@given(st.integers(2, 30))
def test_neighbour_similarity_equals_the_plain_loop(frames: int) -> None:
    rows = np.random.default_rng(frames).standard_normal((frames, 4))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    plain = [
        np.mean([units[i] @ units[j] for j in range(max(0, i - 4), min(frames, i + 5)) if j != i])
        for i in range(frames)
    ]
    np.testing.assert_allclose(neighbour_similarity(units), plain, atol=1e-12)


def test_question_guided_keeps_the_most_similar() -> None:
    vectors = np.tile(np.array([1.0, 0.1]), (400, 1))
    vectors[100:200] = [0.1, 1.0]
    config = ForgettingConfig(temporal="question-guided")
    slots = plan_visible(400, config, frame_vectors=vectors, question_vector=np.array([0.0, 2.0]))
    np.testing.assert_array_equal(slots, np.arange(100, 200))


def test_rules_that_look_at_frames_say_what_they_lack() -> None:
    with pytest.raises(ConfigError, match="needs 300 frame vectors, none were given"):
        plan_visible(300, ForgettingConfig(temporal="keyframe"))
    with pytest.raises(ConfigError, match="question's vector"):
        plan_visible(300, ForgettingConfig(temporal="question-guided"), frame_vectors=np.ones((300, 2)))


@pytest.mark.parametrize(("ratio", "kept"), [(1, 64), (2, 32), (4, 16), (8, 8), (16, 4)])
@pytest.mark.parametrize("rule", ["uniform", "random"])
def test_cells_kept(ratio: int, kept: int, rule: str) -> None:
    config = ForgettingConfig(spatial=rule, spatial_ratio=ratio)
    cells = plan_cells(np.arange(5), np.zeros(5, dtype=np.int64), config, random_constant=1, grid=8)
    assert cells.shape == (5, kept)
    assert (np.diff(cells, axis=1) > 0).all()
    assert cells.min() >= 0
    assert cells.max() < 64


def test_uniform_cells_are_every_second_row_and_column() -> None:
    np.testing.assert_array_equal(uniform_cells(8, 8, 4), np.arange(64).reshape(8, 8)[::2, ::2].ravel())
    assert len(uniform_cells(27, 27, 4)) == 196  # the paper's 196 of 729


def test_random_cells_differ_by_frame_constant_and_repeat() -> None:
    config = ForgettingConfig(spatial="random")

    def drawn(frame: int, repeat: int = 0, constant: int = 1) -> tuple[int, ...]:
        row = plan_cells(np.array([frame]), np.array([repeat]), config, random_constant=constant, grid=8)[0]
        return tuple(row.tolist())

    assert len({drawn(0), drawn(1), drawn(0, repeat=1), drawn(0, constant=2)}) == 4
    assert drawn(86_400 * 365) == drawn(86_400 * 365)


def test_random_choices_never_change_between_versions() -> None:
    """A memory outlives the software: these draws are part of its format."""
    config = ForgettingConfig(spatial="random", spatial_ratio=16, temporal="random", max_frames=6, min_frames=2)
    cells = plan_cells(np.array([1234]), np.array([0]), config, random_constant=42, grid=8)
    np.testing.assert_array_equal(cells, [[4, 7, 28, 47]])
    np.testing.assert_array_equal(plan_visible(100, config, random_constant=42), [16, 27, 29, 44, 66, 92])


def test_occurrences() -> None:
    np.testing.assert_array_equal(occurrences(np.array([0, 0, 0, 4, 4])), [0, 1, 2, 0, 1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_frames": 600}, "min_frames is 600"),
        ({"spatial_ratio": 3}, "spatial_ratio"),
        ({"strid": 2}, "unknown key"),
        ({"temporal_ratio": 17}, "temporal_ratio"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_mapping(values, ForgettingConfig, source="live.yaml")
