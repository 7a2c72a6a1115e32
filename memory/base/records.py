"""What one camera's memory is made of: frames, and the gaps between them."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.int8_tokens import Codes, dequantise, quantise
from afterview.memory.base.spec import Storage

SEAL_FRAMES = 64  # frames; 9.4 MB of published tokens: large enough to write once, small enough to hold in the journal


class TimeBasis(IntEnum):
    """Whose clock gave a frame its canonical time."""

    ARRIVAL = 0  # this machine's clock when the frame came in
    SOURCE = 1  # the source's own clock (RTCP, prft, HLS program date)
    FILE = 2  # a recording: start time plus presentation time


GapReason = Literal["lost", "not recording", "dropped", "jump", "paused", "disk full", "crashed"]
GAP_REASONS: tuple[GapReason, ...] = (
    "lost",
    "not recording",
    "dropped",
    "jump",
    "paused",
    "disk full",
    "crashed",  # nobody recorded, and the process that recorded last did not end cleanly
)  # stored by position: append only


@dataclass(frozen=True)
class FrameRecord:
    """One frame as it enters the memory. Times are Unix seconds.

    tokens: float16 [P, Dv]. embedding: float32 [De], unit norm. image: a JPEG. codes: what a memory of int8 tokens keeps instead of
    the tokens, which are then exactly what the codes stand for.
    """

    time: float  # canonical: strictly ascending within a camera
    arrival_time: float
    image: bytes
    tokens: NDArray[np.floating]
    embedding: NDArray[np.float32]
    source_time: float = math.nan  # NaN where the source gave none
    time_basis: TimeBasis = TimeBasis.ARRIVAL
    codes: Codes | None = None

    def stored_as(self, storage: Storage) -> "FrameRecord":
        """The record as a memory of this storage holds it. Codes that are there already stay as they are."""
        if storage == "float16":
            return replace(self, codes=None) if self.codes else self
        if self.codes:
            return self
        codes = quantise(self.tokens)
        return replace(self, codes=codes, tokens=dequantise(codes))

    @property
    def stored(self) -> Mapping[str, NDArray[np.generic]]:
        """What is written of the tokens, by array."""
        return self.codes.arrays if self.codes else {"tokens": self.tokens}


@dataclass(frozen=True)
class Gap:
    """Between two frames nothing was recorded. `before_frame` is the id of the first frame after it; -1 while it lasts."""

    start: float  # time of the last frame before
    end: float  # time of the first frame after; NaN while it lasts
    reason: GapReason
    before_frame: int

    @property
    def seconds(self) -> float:
        """Length; NaN while it lasts."""
        return self.end - self.start

    @property
    def lasts(self) -> bool:
        """Whether no frame has ended it yet."""
        return math.isnan(self.end)

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs; `end` and `seconds` are null while it lasts."""
        return {
            "start": self.start,
            "end": None if self.lasts else self.end,
            "seconds": None if self.lasts else round(self.seconds, 3),
            "reason": self.reason,
        }


def frame_crc(image: bytes, tokens: NDArray[np.generic], embedding: NDArray[np.float32]) -> int:
    """CRC-32 of what a frame is made of: what an acknowledgement names, and what can be checked at any later time."""
    crc = zlib.crc32(tokens.tobytes(), zlib.crc32(image))
    return zlib.crc32(embedding.tobytes(), crc)
