"""The pictures of a recording at given times, and how long it is."""

from pathlib import Path

import numpy as np
import pytest

from afterview.stream.errors import NotAVideo, SourceError
from afterview.stream.media import VideoWriter, decode_jpeg
from afterview.stream.source.recordings.pictures_at import pictures_at, recording_facts

RATE, FRAMES = 5, 300


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute whose pictures are a grey that grows with time."""
    path = tmp_path_factory.mktemp("counting") / "counting.mp4"
    with VideoWriter(path, 64, 48, RATE) as video:
        for number in range(FRAMES):
            video.write(np.full((48, 64, 3), 30 + number // 2, np.uint8))
    return path


def grey(jpeg: bytes) -> float:
    return float(decode_jpeg(jpeg).mean())


def test_each_time_has_its_picture(counting: Path) -> None:
    times = [0.0, 0.5, 31.0, 31.1, 47.99, 59.8]
    found = pictures_at(counting, times, short_side=480)
    assert [one.at_s for one in found] == [0.0, 0.6, 31.0, 31.2, 48.0, 59.8]
    for one in found:
        assert abs(grey(one.jpeg) - (30 + round(one.at_s * RATE) // 2)) < 3
    assert decode_jpeg(found[0].jpeg).shape == (48, 64, 3), "never enlarged"
    assert decode_jpeg(pictures_at(counting, [3.0], short_side=24)[0].jpeg).shape == (24, 32, 3)


def test_times_after_the_end_have_the_last_picture(counting: Path) -> None:
    assert [one.at_s for one in pictures_at(counting, [59.8, 70.0, 90.0], short_side=48)] == [59.8]
    assert [one.at_s for one in pictures_at(counting, [100.0], short_side=48)] == [59.8]


def test_how_long_it_is(counting: Path, tmp_path: Path) -> None:
    facts = recording_facts(counting)
    assert (facts.seconds, facts.fps, facts.width, facts.height) == (60.0, 5.0, 64, 48)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(counting.read_bytes()[:2000])
    for path in (broken, tmp_path / "gone.mp4", tmp_path):
        with pytest.raises(SourceError):
            recording_facts(path)
    with pytest.raises(NotAVideo):
        pictures_at(broken, [1.0], short_side=48)
