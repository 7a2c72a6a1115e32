"""Worlds shorter than 128 s are evaluated as the model's preset samples them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from afterview.memory.base.errors import SpecMismatch
from afterview.memory.directory import Memory
from afterview.training.base.errors import WorldError
from afterview.training.evaluation.plan import WorldTest
from afterview.training.evaluation.retrieval.worlds import retrieve
from afterview.training.evaluation.worlds import START, VIDEO_RATE, evaluate, ingest_worlds
from tests.support.presets import small_model, write_preset


def times(work: Path) -> np.ndarray:
    (memory,) = (path for path in work.iterdir() if path.is_dir())
    (camera,) = Memory(memory).camera_ids()
    return Memory(memory).camera(camera).snapshot().times - START


def test_the_frames_of_a_published_preset_are_those_of_the_published_reader(tmp_path: Path) -> None:
    test = WorldTest(frames=20, seeds=(1,), questions=2)
    model = str(write_preset(tmp_path, short_videos="published"))
    result = evaluate(test, model, tmp_path / "published")
    assert len(result.outcomes) == 2
    expected = np.linspace(0, 20 * VIDEO_RATE - 1, 20 * VIDEO_RATE, dtype=int) / VIDEO_RATE  # 40 frames of 40
    np.testing.assert_allclose(times(tmp_path / "published"), expected, atol=1e-3)
    assert len(evaluate(test, model, tmp_path / "published").outcomes) == 2  # from the memory that is there
    other = str(write_preset(tmp_path, name="other"))
    evaluate(test, other, tmp_path / "other")
    np.testing.assert_allclose(times(tmp_path / "other"), np.arange(20), atol=1e-3)
    with pytest.raises(WorldError, match="holds 40 frames, not 20"):
        evaluate(test, other, tmp_path / "published")


def test_a_memory_that_other_encoders_made_is_neither_reused_nor_ranked(tmp_path: Path) -> None:
    """As many frames, but vectors of another index: their cosines with a query of this one mean nothing."""
    test = WorldTest(frames=20, seeds=(1,), questions=8)
    own = small_model().encoders
    ingest_worlds(test, own, tmp_path)
    index = SimpleNamespace(spec=own.index.spec.model_copy(update={"weights": "sha256:other"}), encode_texts=None)
    other = replace(own, index=index)
    with pytest.raises(SpecMismatch, match=r"index\.weights"):
        ingest_worlds(test, other, tmp_path)
    with pytest.raises(SpecMismatch, match=r"index\.weights"):
        next(retrieve(test, other, tmp_path, clip_s=8))
