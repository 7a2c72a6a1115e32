"""A disk that is full when a training saves: named, with the checkpoint that is still there and how to continue."""

import errno
from pathlib import Path

import pytest
import torch

from afterview.memory.base.durable import unfinished_files
from afterview.training.base.errors import TrainingError
from afterview.training.core.checkpoints import STATE
from afterview.training.data.features import feature_path, save_frames
from tests.support.full_disk import no_larger_files
from tests.training.core.test_trainer import line_trainer


def test_the_checkpoint_before_is_complete_and_named(tmp_path: Path) -> None:
    trainer = line_trainer(tmp_path)
    trainer.run(lambda number: torch.ones(1), until=3)
    trainer.step = 7
    with no_larger_files(200), pytest.raises(TrainingError) as caught:
        trainer.save()
    for part in (
        f"{tmp_path / STATE}: the checkpoint of step 7 cannot be written: ",
        "--resume continues from the checkpoint of step 3",
    ):
        assert part in str(caught.value)
    assert sorted(path.name for path in tmp_path.glob(f"{STATE}*")) == [STATE]  # nothing half written takes up space
    again = line_trainer(tmp_path)
    assert again.resume()
    assert again.step == 3


def test_without_an_earlier_checkpoint_it_is_said(tmp_path: Path) -> None:
    trainer = line_trainer(tmp_path)
    with (
        no_larger_files(200),
        pytest.raises(TrainingError, match="--resume continues at step 0: there is no earlier checkpoint"),
    ):
        trainer.save()


def test_a_bank_of_frames_names_its_file(tmp_path: Path) -> None:
    """safetensors has an error of its own for what the system refuses."""
    frames = torch.zeros(4, 64, 64, 3, dtype=torch.uint8)
    with no_larger_files(10_000), pytest.raises(OSError, match="File too large") as caught:
        save_frames(tmp_path, "a.mp4", frames, 4.0)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(feature_path(tmp_path, "a.mp4"))
    assert not unfinished_files(tmp_path)
