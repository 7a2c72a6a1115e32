"""Short H.264 clips that tests make themselves: every frame differs from every other."""

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from afterview.stream.media import VideoWriter


def picture(number: int, *, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    """Frame `number` of the test clip: a gradient that drifts, a bright block that walks, and a number of bars that counts."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([(x + 5 * number) % 256, (2 * y + 3 * number) % 256, (x + y + 7 * number) % 256], axis=-1).astype(
        np.uint8
    )
    left = (11 * number) % (width - 30)
    rgb[height // 3 : height // 3 + 30, left : left + 30] = (250, 240, 10)
    for bar in range(number % 8):
        rgb[4:12, 6 + 12 * bar : 14 + 12 * bar] = (10, 250, 90)
    return rgb


def make_clip(
    path: Path, *, frames: int, rate: int = 10, width: int = 160, height: int = 120, codec: str = "libx264"
) -> Path:
    """Write a clip of `frames` frames at `rate` per second."""
    with VideoWriter(path, width, height, rate, codec=codec) as writer:
        for number in range(frames):
            writer.write(picture(number, width=width, height=height))
    return path


def write_elementary(path: Path, codec: str, *, rate: int, frames: int) -> list[bytes]:
    """Write a raw stream without a container that states its rate, with a key frame every second. Returns its packets."""
    options = {"libx265": {"x265-params": f"log-level=-1:keyint={rate}:bframes=0"}}
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = options.get(codec, {"g": str(rate), "bf": "0"})
        pictures = [av.VideoFrame.from_ndarray(picture(number), format="rgb24") for number in range(frames)]
        packets = [packet for frame in [*pictures, None] for packet in stream.encode(frame)]
        output.mux(packets)
        return [bytes(packet) for packet in packets]
