"""How a camera's frames are kept, for people: with all their tokens, or, the old ones, coarse."""

from pathlib import Path
from typing import Any

import numpy as np

from afterview.memory.base.spec import FeatureSpec
from afterview.memory.format.manifest import Manifest
from afterview.memory.plans.downsampling import FEWER, downsampled_mask
from afterview.memory.reading.snapshot import MemorySnapshot


def downsampled_frames(camera: Path, snapshot: MemorySnapshot) -> int:
    """How many of a snapshot's frames are coarse."""
    return int(np.count_nonzero(downsampled_mask(snapshot.end, Manifest.read(camera).downsampled)[snapshot.ids]))


def token_bytes(spec: FeatureSpec, *, downsampled: bool) -> int:
    """Bytes of a frame's tokens, scales included."""
    tokens = spec.tokens
    cells = tokens.tokens_per_frame // (FEWER if downsampled else 1)
    return tokens.width * (2 * cells if tokens.storage == "float16" else cells + 2)


def bytes_saved(spec: FeatureSpec) -> int:
    """Bytes less of a frame that is coarse."""
    return token_bytes(spec, downsampled=False) - token_bytes(spec, downsampled=True)


def tiers_document(camera: Path, snapshot: MemorySnapshot) -> dict[str, Any]:
    """Frames and bytes of their tokens by tier, JSON-able."""
    downsampled = downsampled_frames(camera, snapshot)
    counts = {"full": snapshot.frames - downsampled, "coarse": downsampled}
    return {
        name: {"frames": frames, "token_bytes": frames * token_bytes(snapshot.spec, downsampled=name == "coarse")}
        for name, frames in counts.items()
    }
