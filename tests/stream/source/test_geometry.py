"""The stored picture is what a player shows: square pixels, upright, not mirrored."""

import gc
import io
import resource
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from afterview.stream.source.events import Picture
from afterview.stream.source.geometry import Shown, describe_angle, show
from afterview.stream.source.reader import Frame, Opened
from tests.support.clips import make_clip
from tests.support.reading import frames_of, read

WIDTH, HEIGHT = 96, 64
CORNERS = np.array([[(200, 30, 30), (30, 200, 30)], [(30, 30, 200), (200, 200, 200)]], np.uint8)
ONE = 1 << 16


def scene(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A quarter of red, green, blue and white each."""
    return np.repeat(np.repeat(CORNERS, height // 2, axis=0), width // 2, axis=1)


def corners(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colours of the quarters, as those of `CORNERS`."""
    height, width = rgb.shape[:2]
    seen = rgb[height // 4 :: height // 2, width // 4 :: width // 2].astype(int)
    names = CORNERS.reshape(4, 3)
    nearest = np.abs(seen[:, :, None] - names.astype(int)).sum(-1).argmin(-1)
    return names[nearest]


def write(
    path: Path | io.BytesIO, *, aspect: Fraction | None = None, matrix: list[int] | None = None, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> None:  # fmt: skip
    """Three pictures of the scene. aspect: of a pixel, stated by the video and by the container."""
    with av.open(
        path if isinstance(path, io.BytesIO) else str(path), "w", format=None if isinstance(path, Path) else "mp4"
    ) as output:
        stream = output.add_stream("libx264", rate=10, options={"preset": "ultrafast", "crf": "10"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(scene(*size), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def first(path: Path) -> tuple[Opened, Frame]:
    events = read(path)
    assert isinstance(events[0], Opened)
    return events[0], frames_of(events)[0]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("size", "aspect", "shown"),
    [
        ((352, 576), Fraction(24, 11), (768, 576)),  # a DVR's half-wide picture
        ((720, 480), Fraction(8, 9), (720, 540)),  # NTSC: higher, not narrower
        ((720, 576), Fraction(64, 45), (1024, 576)),
        ((96, 64), Fraction(1, 1), (96, 64)),
        ((96, 64), Fraction(200, 199), (96, 64)),
        ((96, 64), Fraction(40, 1), (96, 64)),  # a mistake
    ],
)
def test_pixels_are_square(
    tmp_path: Path, suffix: str, size: tuple[int, int], aspect: Fraction, shown: tuple[int, int]
) -> None:
    write(tmp_path / f"clip.{suffix}", aspect=aspect, size=size)
    opened, frame = first(tmp_path / f"clip.{suffix}")
    assert (opened.width, opened.height) == (frame.picture.width, frame.picture.height) == shown
    rgb = frame.picture.rgb()
    assert rgb.shape == (shown[1], shown[0], 3)
    assert np.array_equal(corners(rgb), CORNERS)


# (a, b, c, d) of the display matrix, and what it makes of a picture [H, W].
TURNS = {
    "none": ((1, 0, 0, 1), lambda p: p),
    "left": ((0, -1, 1, 0), lambda p: np.rot90(p)),
    "over": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "right": ((0, 1, -1, 0), lambda p: np.rot90(p, 3)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    "transverse": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_the_display_matrix_is_applied_as_a_whole(tmp_path: Path, turn: str) -> None:
    (a, b, c, d), expected = TURNS[turn]
    write(tmp_path / "clip.mp4", matrix=[a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30])
    opened, frame = first(tmp_path / "clip.mp4")
    rgb = frame.picture.rgb()
    assert np.array_equal(corners(rgb), expected(CORNERS))
    assert rgb.flags.c_contiguous
    assert (opened.height, opened.width) == rgb.shape[:2] == ((96, 64) if a == 0 else (64, 96))
    assert opened.note == ""


def test_a_turned_picture_with_wide_pixels(tmp_path: Path) -> None:
    write(tmp_path / "clip.mp4", aspect=Fraction(2), matrix=[0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30])
    opened, frame = first(tmp_path / "clip.mp4")
    assert (opened.width, opened.height) == (64, 192)
    assert np.array_equal(corners(frame.picture.rgb()), np.rot90(CORNERS, 3))


@pytest.mark.parametrize(("degrees", "quarters", "off"), [(20, 0, 20), (-70, 3, 20), (100, 1, 10), (179.5, 2, 0)])
def test_an_odd_angle_is_rounded_and_said(tmp_path: Path, degrees: float, quarters: int, off: int) -> None:
    cos, sin = (round(ONE * value) for value in (np.cos(np.radians(degrees)), np.sin(np.radians(degrees))))
    write(tmp_path / "clip.mp4", matrix=[cos, -sin, 0, sin, cos, 0, 0, 0, 1 << 30])
    opened, frame = first(tmp_path / "clip.mp4")
    assert np.array_equal(corners(frame.picture.rgb()), np.rot90(CORNERS, quarters))
    told = f"its picture is turned by {off} degrees" if off else ""
    assert opened.note.startswith(told)
    assert bool(opened.note) == bool(off)


def test_a_matrix_of_zeros_changes_nothing() -> None:
    frame = av.VideoFrame.from_ndarray(scene(), format="rgb24")
    assert show(frame, Fraction(1)) == Shown(WIDTH, HEIGHT)
    assert describe_angle(Shown(1, 1, off=45.0)) != ""


def test_a_container_that_states_another_shape_than_its_video_is_right(tmp_path: Path) -> None:
    data = io.BytesIO()
    write(data, aspect=Fraction(2))
    pasp = data.getvalue().replace(b"pasp" + struct.pack(">II", 2, 1), b"pasp" + struct.pack(">II", 3, 2))
    assert pasp != data.getvalue()
    (tmp_path / "clip.mp4").write_bytes(pasp)
    assert first(tmp_path / "clip.mp4")[1].picture.rgb().shape == (HEIGHT, WIDTH * 3 // 2, 3)


def test_the_shape_may_change_in_mid_stream(tmp_path: Path) -> None:
    parts = []
    for name, aspect in (("a.ts", None), ("b.ts", Fraction(2))):
        write(tmp_path / name, aspect=aspect)
        parts.append((tmp_path / name).read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    widths = [frame.picture.rgb().shape[1] for frame in frames_of(read(tmp_path / "both.ts"))]
    assert sorted(set(widths)) == [WIDTH, 2 * WIDTH]
    assert widths == sorted(widths)


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (6, 3), (3, 2), (8, 1)])
def test_the_orientation_of_a_camera_s_jpeg(tmp_path: Path, orientation: int, quarters: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    Image.fromarray(scene()).save(data, "JPEG", exif=exif, quality=95)
    (tmp_path / "clip.mjpeg").write_bytes(data.getvalue() * 3)
    _, frame = first(tmp_path / "clip.mjpeg")
    assert np.array_equal(corners(frame.picture.rgb()), np.rot90(CORNERS, quarters))


def test_square_pixels_are_those_of_the_decoder(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            assert np.array_equal(Picture(frame).rgb(), frame.to_ndarray(format="rgb24"))


def test_a_frame_is_freed_without_the_garbage_collector() -> None:
    rgb = np.zeros((1080, 1920, 3), np.uint8)
    sizes = []
    gc.disable()
    try:
        for _ in range(20):
            Picture(av.VideoFrame.from_ndarray(rgb, format="rgb24")).rgb()
            sizes.append(resident_bytes())
    finally:
        gc.enable()
    assert sizes[-1] - sizes[4] < 3 * rgb.nbytes
