"""Real camera footage for tests, and what it shows at every moment, decoded here without the product's reader.

Footage: the videos beside this checkout (`../shared/videos`), and the pedestrians of Debian's package opencv-doc.
"""

import functools
import gzip
import io
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from afterview.stream.media import VideoWriter
from tests.conftest import SHARED_VIDEOS
from tests.support.servers import REQUIRED

SHARED = ("bottle-detection", "car-detection", "one-by-one-person-detection")
PEDESTRIANS = "vtest"
SCENES = (PEDESTRIANS, *SHARED)
PACKAGE = "opencv-doc"
_THUMBNAIL = (32, 24)  # small enough that compression is averaged away, large enough to see a person


def footage_of(scene: str) -> Path:
    """The file of a scene. Skips the calling test where it is missing; the pedestrians must be there on CI."""
    if scene != PEDESTRIANS:
        path = SHARED_VIDEOS / f"{scene}.mp4"
        if not path.is_file():
            pytest.skip(f"{path.name} is not beside this checkout (../shared/videos)")
        return path
    found = _pedestrians()
    if found is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"no vtest.avi here; on Debian: apt-get install {PACKAGE}")
    return found


@functools.cache
def _pedestrians() -> Path | None:
    """The file of the package, wherever dpkg has put it, and unpacked if a policy has compressed it."""
    try:
        listed = subprocess.run(["dpkg-query", "-L", PACKAGE], capture_output=True, text=True, timeout=30).stdout
    except OSError:
        return None
    for path in (Path(line) for line in listed.splitlines() if line.endswith(("/vtest.avi", "/vtest.avi.gz"))):
        plain, packed = path.with_name("vtest.avi"), path.with_name("vtest.avi.gz")
        if plain.is_file():
            return plain
        if packed.is_file():
            unpacked = Path(mkdtemp()) / plain.name
            with gzip.open(packed) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(source, target)
            return unpacked
    return None


@dataclass(frozen=True)
class Footage:
    """What a file shows. times: of its pictures, seconds from the first. thumbnails: (pictures, height, width, 3), 0 to 255.

    size: width and height of a picture.
    """

    times: NDArray[np.float64]
    thumbnails: NDArray[np.float32]
    size: tuple[int, int]

    @property
    def seconds(self) -> float:
        return float(self.times[-1])

    def difference(self, picture: bytes, second: float, within_s: float) -> float:
        """How far a picture is from those that the file shows at that second: mean difference of a channel, of the nearest one."""
        near = np.abs(self.times - second) <= within_s
        assert near.any(), f"the footage shows nothing at {second} s"
        return float(np.abs(self.thumbnails[near] - thumbnail(picture)).mean(axis=(1, 2, 3)).min())


def repeated(footage: Footage, rounds: int) -> Footage:
    """What is seen if a file begins again at its end."""
    length = footage.times[-1] + footage.times[-1] - footage.times[-2]
    times = np.concatenate([footage.times + length * number for number in range(rounds)])
    return Footage(times, np.concatenate([footage.thumbnails] * rounds), footage.size)


def thumbnail(picture: bytes) -> NDArray[np.float32]:
    """Of a JPEG: (height, width, 3)."""
    with Image.open(io.BytesIO(picture)) as image:
        return _small(image)


def _small(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image.convert("RGB").resize(_THUMBNAIL, Image.Resampling.BOX), dtype=np.float32)


@functools.cache
def decoded(path: Path) -> Footage:
    """What a file shows, every picture of it."""
    times, thumbnails, size = [], [], (0, 0)
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            size = (frame.width, frame.height)
            times.append(frame.time)
            thumbnails.append(_small(frame.to_image(width=frame.width // 4, height=frame.height // 4)))
    first = times[0]
    return Footage(np.array(times) - first, np.stack(thumbnails), size)


def beginning(path: Path, directory: Path, seconds: float) -> Path:
    """The first seconds of a file, its packets unchanged."""
    place = directory / path.name
    with av.open(str(path)) as source, av.open(str(place), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is None or packet.dts * packet.time_base > seconds:
                break
            packet.stream = copy
            target.mux(packet)
    return place


def served_by_rtsp(path: Path, directory: Path) -> Path:
    """The same as a file that an RTSP server can serve: H.264. The pedestrians are encoded anew."""
    if path.suffix == ".mp4":
        return path
    place = directory / f"{path.stem}-live.mp4"
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        rate = stream.average_rate or 10
        options = {"preset": "ultrafast", "crf": "20", "bf": "0"}
        with VideoWriter(place, stream.width, stream.height, rate, options=options) as writer:
            for frame in source.decode(stream):
                writer.write(frame.to_ndarray(format="rgb24"))
    return place


def rotated(pictures: Sequence[bytes], seconds: Sequence[float], footage: Footage, within_s: float) -> float:
    """The mean difference if every picture had the time of another one: what `difference` is for wrong times."""
    half = len(pictures) // 2
    moved = [*seconds[half:], *seconds[:half]]
    return float(np.mean([footage.difference(*one, within_s) for one in zip(pictures, moved, strict=True)]))
