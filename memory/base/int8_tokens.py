"""Tokens of one byte per value: int8 codes, and for every frame one float16 scale per channel.

A token's value is float16(code * scale). Scales are per channel because vision towers have a few channels that are far wider than the
others; with a scale per token these would take the precision of all channels. Scales are per frame, so that a frame is quantised once,
when it enters the memory, and is the same to the last bit in the journal, in a sealed chunk and in an exported file.

Legend: P tokens per frame, D width; any number of leading axes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_CODE = 127
MISSING_CODE = -128  # never a code: a missing chunk of codes reads as this, as one of floats reads as NaN
_LARGEST_SCALE = 515.5  # 127 times this is a finite float16
_BLOCK = 65536  # values dequantised at a time; they fit into the processor's cache
_TO_HALF = np.float32(2.0**-112)  # a float32 times this has the exponent that float16 has for the same number


@dataclass(frozen=True)
class Codes:
    """codes: int8 [..., P, D]. scales: float16 [..., D], zero where a channel is zero in the whole frame."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float16]

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by the names under which a memory stores them."""
        return {"tokens": self.codes, "scales": self.scales}


def quantise(tokens: NDArray[np.floating]) -> Codes:
    """Finite tokens [..., P, D] to codes. The error is at most half a scale (36 beyond 65,468, near the end of float16)."""
    values = tokens.astype(np.float32)
    wanted = np.abs(values).max(axis=-2, initial=0) / LARGEST_CODE
    scales = wanted.astype(np.float16)
    scales = np.where(scales < wanted, np.nextafter(scales, np.float16(np.inf)), scales)
    scales = np.minimum(scales, np.float16(_LARGEST_SCALE))
    steps = scales.astype(np.float32)
    values *= np.divide(1, steps, out=np.zeros_like(steps), where=steps > 0)[..., None, :]
    np.rint(values, out=values)
    np.clip(values, -LARGEST_CODE, LARGEST_CODE, out=values)
    return Codes(values.astype(np.int8), scales)


def dequantise(stored: Codes) -> NDArray[np.float16]:
    """float16(codes * scales), [..., P, D].

    NumPy converts float32 to float16 value by value. This code works on whole arrays of bits and is three times as fast. The product has
    at most 18 significant bits, so it is exact and is rounded once, to even.
    """
    codes = stored.codes.reshape(-1, *stored.codes.shape[-2:])
    scales = stored.scales.reshape(-1, 1, stored.scales.shape[-1]).astype(np.float32) * _TO_HALF
    tokens = np.empty(codes.shape, dtype=np.uint16)
    rows = max(1, _BLOCK // max(1, codes[:1].size))
    values = np.empty((min(rows, len(codes)), *codes.shape[1:]), dtype=np.float32)
    scratch = np.empty(values.shape, dtype=np.uint32)
    for first in range(0, len(codes), rows):
        block = slice(first, first + rows)
        count = len(codes[block])
        bits, spare = values[:count].view(np.uint32), scratch[:count]
        np.multiply(codes[block], scales[block], out=values[:count])
        np.right_shift(bits, 13, out=spare)  # float16 has 13 bits fewer: round to nearest, ties to even
        spare &= 1
        bits += spare
        bits += 0xFFF
        bits >>= 13
        np.bitwise_and(bits, 0x40000, out=spare)  # move the sign from its place in float32 to its place in float16
        spare >>= 3
        bits |= spare
        tokens[block] = bits
    return tokens.view(np.float16).reshape(stored.codes.shape)
