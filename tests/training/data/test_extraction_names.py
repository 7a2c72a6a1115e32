"""Two videos of one name never become one in a bank, whichever comes first and whenever."""

from pathlib import Path

import pytest
import torch

from afterview.model.checkpoint.loading import load_encoders
from afterview.training.base.errors import DataError
from afterview.training.data.bank_files import feature_path
from afterview.training.data.extraction import extract_video
from afterview.training.data.features import holds, save_frames
from tests.support.clips import make_clip


def test_another_video_of_the_same_name_is_refused_later(tmp_path: Path) -> None:
    encoders, bank = load_encoders("tiny"), tmp_path / "bank"
    for folder, frames in (("one", 20), ("two", 30)):
        (tmp_path / folder).mkdir()
        make_clip(tmp_path / folder / "door.mp4", frames=frames, rate=10)
    assert extract_video(tmp_path / "one" / "door.mp4", encoders, bank)
    assert not extract_video(tmp_path / "one" / "door.mp4", encoders, bank)
    before = feature_path(bank, "door.mp4").read_bytes()
    with pytest.raises(DataError, match=r"was made of another 'door\.mp4'"):
        extract_video(tmp_path / "two" / "door.mp4", encoders, bank)
    assert feature_path(bank, "door.mp4").read_bytes() == before


def test_a_bank_of_an_earlier_version_keeps_what_it_has(tmp_path: Path) -> None:
    save_frames(tmp_path, "door", torch.zeros(2, 4, 4, 3, dtype=torch.uint8), 2.0)
    assert holds(tmp_path, "door", "frames", source="file 1 00000000")
