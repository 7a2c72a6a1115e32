"""Opening a source once shows what recording it would begin with."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afterview.stream.errors import NotAVideo, SourceUnreachable
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.probe import probe
from tests.support.clips import make_clip, picture


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "libx265"), (".avi", "mjpeg"), (".gif", "gif")]
)
@pytest.mark.parametrize("frames", [1, 5])
def test_videos_pass_even_of_one_picture(suffix: str, codec: str, frames: int, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"clip{suffix}", frames=frames, codec=codec)
    probe(parse_source(str(clip)), SourceConfig())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_a_still_picture_is_no_video(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"still{suffix}"
    Image.fromarray(picture(3)).save(path)
    with pytest.raises(NotAVideo, match="is a still picture, not a video"):
        probe(parse_source(str(path)), SourceConfig())


def test_a_file_of_several_jpegs_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "camera.mjpeg"
    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / "one.jpg")
        with path.open("ab") as file:
            file.write((tmp_path / "one.jpg").read_bytes())
    probe(parse_source(str(path)), SourceConfig())


def test_a_video_whose_pictures_are_all_damaged(tmp_path: Path) -> None:
    data = bytearray(make_clip(tmp_path / "clip.mp4", frames=20).read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 8000] = np.zeros(8000, np.uint8).tobytes()
    (tmp_path / "clip.mp4").write_bytes(data)
    with pytest.raises(NotAVideo):
        probe(parse_source(str(tmp_path / "clip.mp4")), SourceConfig())


def test_a_dead_address_is_unreachable_and_a_sender_of_one_connection_is_left_alone() -> None:
    with pytest.raises(SourceUnreachable):
        probe(parse_source("http://127.0.0.1:1/live"), SourceConfig())
    probe(parse_source("tcp://127.0.0.1:1"), SourceConfig())
