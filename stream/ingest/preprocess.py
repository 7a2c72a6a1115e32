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

SMALLEST_IMAGE = 240  # pixels, short side of stored images: what a person needs to recognise a scene, 10-15 kB each


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


def preprocess(frame: Frame, when: float, basis: TimeBasis, encoders: "Encoders", masks: Sequence[Polygon]) -> Sampled:
    """The frame at its canonical time `when`. `masks` are blacked out before anything is computed."""
    rgb = apply_masks(frame.picture.rgb(), masks)
    vision, index = encoders.feature_spec.tokens.resolution, encoders.feature_spec.index.resolution
    token_pixels = to_square(rgb, vision)
    return Sampled(
        time=when,
        arrival_time=frame.arrival_time,
        source_time=math.nan if frame.source_time is None else frame.source_time,
        time_basis=basis,
        token_pixels=token_pixels,
        index_pixels=token_pixels if index == vision else to_square(rgb, index),
        image=encode_jpeg(rgb, short_side=max(vision, index, SMALLEST_IMAGE)),
        encoders=encoders,
    )
