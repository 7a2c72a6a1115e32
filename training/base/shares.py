"""Shares with 95 % intervals. Pure."""

import math
from typing import Final

_Z: Final = 1.959964  # standard normal quantile of a 95 % interval


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share: lower and upper end (Wilson 1927)."""
    if not whole:
        return 0.0, 1.0
    share, z2 = part / whole, _Z * _Z
    centre = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z / (1 + z2 / whole) * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    return max(0.0, centre - half), min(1.0, centre + half)
