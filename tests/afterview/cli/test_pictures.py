"""`replay` of still pictures: a time-lapse, one frame each, at its own time; and of animations."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from afterview.memory.directory import Memory
from afterview.stream.media import decode_jpeg
from tests.afterview.cli.test_archives import replay, times
from tests.support.archives import write_recording
from tests.support.clips import picture


def write_picture(
    path: Path, number: int, *, taken: str = "", offset: str = "", orientation: int = 1, width: int = 160
) -> Path:
    """A JPEG of that number in the test clip, with EXIF data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture(number, width=width))
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    details = exif.get_ifd(ExifTags.IFD.Exif)
    if taken:
        details[ExifTags.Base.DateTimeOriginal] = taken
    if offset:
        details[ExifTags.Base.OffsetTimeOriginal] = offset
    image.save(path, exif=exif, quality=95)
    return path


def test_a_time_lapse_is_one_frame_a_picture_without_gaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "lapse"
    for number in range(6):  # file names in another order than the times
        write_picture(
            folder / f"IMG_{20 - number}.jpg", number, taken=f"2024:05:01 15:{5 + number}:00", offset="+02:00"
        )
    status, document, error = replay(capsys, tmp_path / "m", folder)
    assert (status, times(tmp_path / "m")) == (0, [0, 60, 120, 180, 240, 300]), error
    snapshot = Memory(tmp_path / "m").camera("front").snapshot()
    assert len(snapshot.gaps) == 0
    assert np.abs(decode_jpeg(snapshot.image(3)).astype(int) - picture(3)).mean() < 6
    (file,) = document["files"]
    assert (file["state"], file["clock"], file["recorded"]) == ("recorded", "stated", 6)

    assert replay(capsys, tmp_path / "m", folder)[1]["files"][0]["state"] == "present"
    write_picture(folder / "IMG_1.jpg", 6, taken="2024:05:01 13:11:00")  # without an offset: in the camera's zone
    status, document, _ = replay(capsys, tmp_path / "m", folder)
    assert (status, document["recorded"], times(tmp_path / "m")[-1]) == (0, 1, 360)
    assert len(Memory(tmp_path / "m").camera("front").snapshot().gaps) == 0


def test_pictures_are_upright_and_unreadable_ones_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lapse"
    for number in range(4):
        write_picture(folder / f"2024-05-01_13-05-0{number}.jpg", number, orientation=6)
    torn = folder / "2024-05-01_13-05-01.jpg"
    torn.write_bytes(torn.read_bytes()[:2000])
    (folder / "2024-05-01_13-05-02.jpg").write_bytes(b"nothing")
    status, document, error = replay(capsys, tmp_path / "m", folder)
    assert (status, times(tmp_path / "m")) == (0, [0, 3])
    assert document["files"][0]["detail"] == "end of file; 2 unreadable pictures left out"
    assert "2024-05-01_13-05-01.jpg: this picture cannot be read" in error
    stored = decode_jpeg(Memory(tmp_path / "m").camera("front").snapshot().image(0))
    assert stored.shape == (160, 120, 3)
    assert np.abs(stored.astype(int) - np.rot90(picture(0), 3)).mean() < 6


def test_pictures_that_nothing_dates_follow_one_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (9, 10, 11):
        write_picture(tmp_path / "lapse" / f"frame{number}.png", number)
    status, _, error = replay(capsys, tmp_path / "m", tmp_path / "lapse")
    assert (status, "--start TIME and --interval" in error) == (2, True)
    status, _, error = replay(capsys, tmp_path / "m", tmp_path / "lapse", "--start", "2024-05-01T13:05")
    assert (status, "give --interval" in error) == (2, True)
    replay(capsys, tmp_path / "m", tmp_path / "lapse", "--start", "2024-05-01T13:05", "--interval", "10s")
    assert times(tmp_path / "m") == [0, 10, 20]


def test_one_picture_is_a_recording_of_one_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shot = write_picture(tmp_path / "20240501_130500.jpg", 1)
    assert replay(capsys, tmp_path / "m", shot)[0] == 0
    assert times(tmp_path / "m") == [0]
    status, _, error = replay(capsys, tmp_path / "n", write_picture(tmp_path / "shot.jpg", 1))
    assert (status, "is a still picture, not a video, and nothing says when it was taken" in error) == (2, True)


def test_recordings_are_taken_and_pictures_beside_them_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(tmp_path / "nvr" / "2024-05-01_13-05-00.mp4", seconds=2)
    write_picture(tmp_path / "nvr" / "2024-05-01_13-05-00.jpg", 1)
    status, document, error = replay(capsys, tmp_path / "m", tmp_path / "nvr")
    assert (status, times(tmp_path / "m"), len(document["left_out"])) == (0, [0, 1], 1)
    assert "2024-05-01_13-05-00.jpg" in error
    status, document, _ = replay(capsys, tmp_path / "n", tmp_path / "nvr" / "*.jpg")
    assert (status, times(tmp_path / "n")) == (0, [0])


@pytest.mark.parametrize("name", ["loop.webp", "loop.gif", "loop.png"])
def test_an_animation_is_a_video(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [Image.fromarray(picture(number)) for number in range(6)]
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=500)
    status, _, error = replay(capsys, tmp_path / "m", tmp_path / name, "--start", "2024-05-01T13:05")
    assert (status, times(tmp_path / "m")) == (0, [0, 1, 2]), error
    image = decode_jpeg(Memory(tmp_path / "m").camera("front").snapshot().image(1))
    assert np.abs(image.astype(int) - picture(2)).mean() < 12
