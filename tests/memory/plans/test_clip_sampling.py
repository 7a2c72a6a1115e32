"""Which frames VideoChat-Flash sees: the published numbers, over recordings and over the clips of a memory."""

import numpy as np
import pytest
from numpy.typing import NDArray

from afterview.memory.plans.clip_marks import Clips, marks_of, whole_clips
from afterview.memory.plans.clip_sampling import ClipSampling, dense_indices, frames_wanted, midpoints, plan_clips
from afterview.memory.plans.recall import RecallConfig

RELEASED = ClipSampling()


@pytest.mark.parametrize(
    ("frames", "fps", "wanted"),
    [
        (2190, 25.0, 80),  # 87.6 s: multiples of 8, not of 4 (84)
        (10_000, 25.0, 400),
        (50, 25.0, 48),  # fewer than 64 frames: rounded down
        (7, 25.0, 8),
        (100_000, 25.0, 512),
        (100, 25.0, 64),  # 4 s
        (64, 1.0, 64),
        (71, 1.0, 64),
        (72, 1.0, 72),
    ],
)  # fmt: skip
def test_the_number_of_frames_is_the_published_one(frames: int, fps: float, wanted: int) -> None:
    assert frames_wanted(frames, frames / fps, RELEASED) == wanted
    assert len(dense_indices(frames, frames / fps)) == wanted


def test_indices_are_the_published_ones() -> None:
    assert dense_indices(10_000, 400.0)[:3].tolist() == [12, 37, 62]
    assert dense_indices(5, 0.2).tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert dense_indices(64, 64.0).tolist() == list(range(64))
    training = ClipSampling(multiple=4)
    assert len(dense_indices(2190, 87.6, training)) == 84
    slow = dense_indices(100, 200.0)  # half a frame a second: each frame once, then the last one again
    assert slow[:100].tolist() == list(range(100))
    assert set(slow[100:].tolist()) == {99}


def test_midpoints_are_in_the_middle_of_equal_segments() -> None:
    assert midpoints(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert midpoints(3, 8).tolist() == [0, 1, 2]
    for total in (7, 100, 1000):
        chosen = midpoints(total, 7)
        assert (np.diff(chosen) > 0).all()
        assert chosen[-1] < total


def clips_of(frames: int) -> Clips:
    return whole_clips(np.arange(frames), marks_of(frames, 4))


def never() -> NDArray[np.int64]:
    raise AssertionError("the index was asked")


BY_INDEX, FULL = RecallConfig(window=8, nearest=16), RecallConfig.model_validate("full")


@pytest.mark.parametrize("frames", [1, 3, 5, 29, 64, 70, 100, 511, 512])
def test_a_span_at_one_frame_a_second_is_seen_as_a_whole(frames: int) -> None:
    plan = plan_clips(clips_of(frames), float(frames), RELEASED, BY_INDEX, never, frames_per_clip=4)
    assert plan.recall.mode == "full"
    assert plan.recall.frames.tolist() == list(range(frames))


def test_a_denser_memory_is_sampled_to_a_frame_a_second() -> None:
    plan = plan_clips(clips_of(400), 100.0, RELEASED, BY_INDEX, never, frames_per_clip=4)
    assert plan.recall.mode == "sampled"
    assert plan.clips.tolist() == midpoints(100, 24).tolist()
    assert len(plan.recall.frames) == 96
    assert (plan.recall.frames.reshape(-1, 4) == plan.clips[:, None] * 4 + np.arange(4)).all()


def test_beyond_the_most_the_index_helps_and_half_are_evenly_spaced() -> None:
    clips = clips_of(4000)
    near = np.array([777, 778, 900])
    plan = plan_clips(clips, 4000.0, RELEASED, BY_INDEX, lambda: near, frames_per_clip=4)
    assert (plan.recall.mode, plan.by_index, len(plan.recall.frames)) == ("bounded", True, 512)
    assert np.isin(midpoints(1000, 64), plan.clips).all()
    assert np.isin([777, 778, 900, 998, 999], plan.clips).all()
    plain = plan_clips(clips, 4000.0, RELEASED, FULL, never, frames_per_clip=4)
    assert (plain.recall.mode, plain.by_index) == ("sampled", False)
    assert plain.clips.tolist() == midpoints(1000, 128).tolist()


def test_least_above_most_is_refused() -> None:
    with pytest.raises(ValueError, match="min_frames is 64 but max_frames is only 32"):
        ClipSampling(max_frames=32)
