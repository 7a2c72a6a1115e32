"""The records of one camera: frames, and the gaps between them. Loads NumPy only where frames are stored: answers name gaps, too."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from afterview.memory.base.feature_spec import Storage
    from afterview.memory.base.int8_tokens import Codes

SEAL_FRAMES = 64  # frames; 9.4 MB of published tokens: large enough to write once, small enough for the journal


class TimeBasis(IntEnum):
    """The clock that a frame's canonical time comes from."""

    ARRIVAL = 0  # this machine's clock when the frame arrived
    SOURCE = 1  # the source's own clock (RTCP, prft, HLS program date)
    FILE = 2  # a recording: start time plus presentation time


PICTURE_DAMAGED = 0x80  # the bit of a stored time basis that says so; 0x7F has the basis

GapReason = Literal["lost", "not recording", "dropped", "jump", "paused", "disk full", "crashed"]
GAP_REASONS: tuple[GapReason, ...] = (
    "lost",
    "not recording",
    "dropped",
    "jump",
    "paused",
    "disk full",
    "crashed",  # no process recorded, and the last one did not stop cleanly
)  # stored by position: append only

PACE_STEPS = 9  # the latest steps between frames, whose median is the usual one
HOLE_STEPS = 2.5  # a silence of more than so many usual steps between frames is a gap, even without a known reason


@dataclass(frozen=True)
class FrameRecord:
    """One frame as it enters the memory. Times are Unix seconds.

    tokens: float16 [P, Dv]. embedding: float32 [De], unit norm. image: a JPEG. codes: what a memory of int8 tokens stores instead of
    the tokens; the tokens are then exactly the values of the codes. clip: the mark of its place in its clip, where the spec has
    clip_marks (memory.plans.clip_marks); otherwise None.
    """

    time: float  # canonical: strictly ascending within a camera
    arrival_time: float
    image: bytes
    tokens: "NDArray[np.floating]"
    embedding: "NDArray[np.float32]"
    source_time: float = math.nan  # NaN if the source gave none
    time_basis: TimeBasis = TimeBasis.ARRIVAL
    codes: "Codes | None" = None
    picture_damaged: bool = (
        False  # parts of the picture were lost on the way, or parts of one that it is predicted from
    )
    clip: int | None = None

    @property
    def basis_code(self) -> int:
        """The time basis as it is stored in `time_basis`, with PICTURE_DAMAGED."""
        return int(self.time_basis) | (PICTURE_DAMAGED if self.picture_damaged else 0)

    def stored_as(self, storage: "Storage") -> "FrameRecord":
        """The record as a memory with this storage holds it. Existing codes are kept."""
        from afterview.memory.base.int8_tokens import dequantise, quantise

        if storage == "float16":
            return replace(self, codes=None) if self.codes else self
        if self.codes:
            return self
        codes = quantise(self.tokens)
        return replace(self, codes=codes, tokens=dequantise(codes))

    @property
    def stored(self) -> "Mapping[str, NDArray[np.generic]]":
        """The stored form of the tokens, by array."""
        import numpy as np

        tokens = self.codes.arrays if self.codes else {"tokens": self.tokens}
        return tokens if self.clip is None else {**tokens, "clips": np.array(self.clip, dtype=np.uint8)}


@dataclass(frozen=True)
class Gap:
    """A time without frames. `before_frame` is the id of the first frame after it; -1 while it lasts."""

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


def frame_crc(image: bytes, tokens: "NDArray[np.generic]", embedding: "NDArray[np.float32]") -> int:
    """CRC-32 of a frame's content. An acknowledgement names it, so that the frame can be checked later."""
    crc = zlib.crc32(tokens.tobytes(), zlib.crc32(image))
    return zlib.crc32(embedding.tobytes(), crc)
