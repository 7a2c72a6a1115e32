"""Writing video and stills: what is written can be read again, at the times that were asked for; mistakes are named."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from afterview.stream.errors import WriterError
from afterview.stream.media import VideoWriter, decode_jpeg, encode_jpeg
from tests.support.clips import picture


def times_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libx265", "hevc")])
def test_pictures_come_back_in_order_and_alike(tmp_path: Path, codec: str, name: str) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 160, 120, 10, codec) as video:
        for number in range(12):
            video.write(picture(number))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == name
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert len(frames) == 12
    originals = [picture(number).astype(int) for number in range(12)]
    nearest = [int(np.argmin([np.abs(frame - original).mean() for original in originals])) for frame in frames]
    assert nearest == list(range(12))


@pytest.mark.parametrize("rate", [10, 12.5, Fraction(30000, 1001)])
def test_frames_follow_at_the_rate(tmp_path: Path, rate: float) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 160, 120, rate) as video:
        for number in range(30):
            video.write(picture(number))
    assert times_of(path) == pytest.approx([number / float(rate) for number in range(30)], abs=1e-4)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_explicit_times_of_a_variable_rate(tmp_path: Path, suffix: str) -> None:
    path, times = tmp_path / f"clip.{suffix}", [0.0, 0.04, 0.5, 0.51, 3.25]
    with VideoWriter(path, 160, 120, 25) as video:
        for number, time in enumerate(times):
            video.write(picture(number), pts_s=time)
    read = times_of(path)
    assert [time - read[0] for time in read] == pytest.approx(times, abs=1e-3)


def test_the_same_frames_make_the_same_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, 160, 120, 10) as video:
            for number in range(25):
                video.write(picture(number))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_viewer_finds_a_key_frame_every_two_seconds(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 160, 120, 10) as video:
        for number in range(41):
            video.write(picture(number))
    with av.open(str(path)) as container:
        keys = [number for number, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]
    assert keys == [0, 20, 40]


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(WriterError, match="even width and height, got 161x120"):
        VideoWriter(tmp_path / "a.mp4", 161, 120, 10)
    with pytest.raises(WriterError, match="0 is not a positive number"):
        VideoWriter(tmp_path / "a.mp4", 160, 120, 0)
    with pytest.raises(WriterError, match=r"suffix '\.foo'"):
        VideoWriter(tmp_path / "a.foo", 160, 120, 10)
    with pytest.raises(WriterError, match="No such file or directory"):
        VideoWriter(tmp_path / "missing" / "a.mp4", 160, 120, 10)
    with pytest.raises(WriterError, match="encoder nonesuch"):
        VideoWriter(tmp_path / "a.mp4", 160, 120, 10, "nonesuch")
    with VideoWriter(tmp_path / "a.mp4", 160, 120, 10) as video:
        video.write(picture(0), pts_s=1.0)
        with pytest.raises(WriterError, match=r"0\.500000 s after 1\.000000 s"):
            video.write(picture(1), pts_s=0.5)
        with pytest.raises(WriterError, match="120x160x3, got 60x80x3"):
            video.write(picture(1, width=80, height=60))


def test_a_still_is_scaled_down_to_its_short_side_never_up() -> None:
    wide = decode_jpeg(encode_jpeg(picture(3, width=320, height=180), short_side=90))
    assert wide.shape == (90, 160, 3)
    assert wide.dtype == np.uint8
    assert decode_jpeg(encode_jpeg(picture(3, width=90, height=160), short_side=45)).shape == (80, 45, 3)
    assert decode_jpeg(encode_jpeg(picture(3), short_side=384)).shape == (120, 160, 3)


def test_a_still_longer_than_any_jpeg_is_scaled_down() -> None:
    wide = np.full((2, 70_000, 3), 90, np.uint8)
    assert decode_jpeg(encode_jpeg(wide, short_side=384)).shape == (2, 65_500, 3)
    assert decode_jpeg(encode_jpeg(wide.transpose(1, 0, 2), short_side=384)).shape == (65_500, 2, 3)


def test_a_still_looks_like_its_frame() -> None:
    original = picture(5)
    again = decode_jpeg(encode_jpeg(original, short_side=120))
    assert (
        np.abs(again.astype(int) - original).mean() < 6
    )  # of 255; the test picture's saw-tooth edges are JPEG's worst case
    assert len(encode_jpeg(original, 120, quality=30)) < len(encode_jpeg(original, 120))
