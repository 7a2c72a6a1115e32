"""How a camera's frames are kept: with all their tokens, or, the old ones, downsampled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afterview.memory.base.feature_spec import TokenSpec
from afterview.memory.format.manifest import Manifest
from afterview.memory.plans.downsampling import downsampled_mask, token_bytes
from afterview.memory.reading.snapshot import MemorySnapshot


@dataclass(frozen=True)
class Tiers:
    """Frames of a snapshot by tier. spec: of their tokens."""

    full: int
    downsampled: int
    spec: TokenSpec

    @classmethod
    def of(cls, camera: Path, snapshot: MemorySnapshot) -> "Tiers":
        """The tiers of the camera at `camera`, as far as the snapshot goes."""
        mask = downsampled_mask(snapshot.end, Manifest.read(camera).downsampled)
        downsampled = int(np.count_nonzero(mask[snapshot.ids]))
        return cls(snapshot.frames - downsampled, downsampled, snapshot.spec.tokens)

    @property
    def bytes_saved_each(self) -> int:
        """Bytes that a downsampled frame takes less than a full one."""
        return token_bytes(self.spec, downsampled=False) - token_bytes(self.spec, downsampled=True)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: frames and bytes of their tokens by tier."""
        return {
            "full": {"frames": self.full, "token_bytes": self.full * token_bytes(self.spec, downsampled=False)},
            "coarse": {
                "frames": self.downsampled,
                "token_bytes": self.downsampled * token_bytes(self.spec, downsampled=True),
            },
        }
