"""Prepares a frame that the sampler chose: squares of pixels for the encoders, and a JPEG for people. Decode thread."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.records import TimeBasis
from afterview.memory.base.settings import Polygon
from afterview.model.vision.preprocess import to_square
from afterview.stream.ingest.masks import apply_masks
from afterview.stream.media import encode_jpeg
from afterview.stream.source.events import Frame

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders

DEFAULT_IMAGE_SIZE = 480  # pixels, short side of stored images: docs/storage.md has pictures' sizes and what they cost
_COMPARED_FRAMES = 8  # of which the default size is measured, too, where another one is stored


class ImageCost:
    """Bytes of the stored images of one recording, and what they would be at the default size. Decode thread; others only read."""

    def __init__(self, size: int) -> None:
        """size: the short side that was asked for, in pixels. A smaller picture keeps its size."""
        self.size = size
        self._frames = self._bytes = self._compared = self._default_bytes = self._stored_bytes = 0

    @property
    def compared(self) -> bool:
        """Whether enough frames were measured at both sizes."""
        return self._compared >= _COMPARED_FRAMES

    def add(self, rgb: NDArray[np.uint8], image: bytes) -> None:
        """Count the image of a picture."""
        self._bytes += len(image)
        self._frames += 1
        if self.size != DEFAULT_IMAGE_SIZE and not self.compared:
            self._default_bytes += len(encode_jpeg(rgb, DEFAULT_IMAGE_SIZE))
            self._stored_bytes += len(image)
            self._compared += 1

    def mean_bytes(self) -> float:
        """Of a stored image; NaN before the first."""
        return self._bytes / self._frames if self._frames else math.nan

    def default_mean_bytes(self) -> float:
        """Of the same images at the default size, by the ratio of those that were measured at both."""
        ratio = self._default_bytes / self._stored_bytes if self._stored_bytes else 1.0
        return self.mean_bytes() * ratio


@dataclass(frozen=True)
class Sampled:
    """A frame chosen by the sampler, ready for the encoders. Pixels are uint8 RGB squares of each encoder's resolution."""

    time: float
    arrival_time: float
    source_time: float
    time_basis: TimeBasis
    token_pixels: NDArray[np.uint8]
    index_pixels: NDArray[np.uint8]
    image: bytes
    encoders: "Encoders"  # that will encode it
    picture_damaged: bool = False


def preprocess(
    frame: Frame, when: float, basis: TimeBasis, encoders: "Encoders", masks: Sequence[Polygon], cost: ImageCost
) -> Sampled:
    """The frame at its canonical time `when`. `masks` are blacked out before anything is computed.

    cost: has the size of the image, at least the resolution of the encoders, and counts it.
    """
    rgb = apply_masks(frame.picture.rgb(), masks)
    vision, index = encoders.feature_spec.tokens.resolution, encoders.feature_spec.index.resolution
    token_pixels = to_square(rgb, vision)
    image = encode_jpeg(rgb, short_side=max(vision, index, cost.size))
    cost.add(rgb, image)
    return Sampled(
        time=when,
        arrival_time=frame.arrival_time,
        source_time=math.nan if frame.source_time is None else frame.source_time,
        time_basis=basis,
        token_pixels=token_pixels,
        index_pixels=token_pixels if index == vision else to_square(rgb, index),
        image=image,
        encoders=encoders,
        picture_damaged=frame.picture_damaged,
    )
