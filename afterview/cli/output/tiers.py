"""How a camera's frames are kept, for people: with all their tokens, or, the old ones, coarse."""

from pathlib import Path
from typing import Any

import numpy as np

from afterview.memory.base.spec import FeatureSpec
from afterview.memory.format.manifest import Commit
from afterview.memory.plans.downsampling import FEWER, coarse_mask
from afterview.memory.reading.snapshot import MemorySnapshot


def coarse_frames(camera: Path, snapshot: MemorySnapshot) -> int:
    """How many of a snapshot's frames are coarse."""
    return int(np.count_nonzero(coarse_mask(snapshot.end, Commit.read(camera).coarse)[snapshot.ids]))


def token_bytes(spec: FeatureSpec, *, coarse: bool) -> int:
    """Bytes of a frame's tokens, scales included."""
    tokens = spec.tokens
    cells = tokens.tokens_per_frame // (FEWER if coarse else 1)
    return tokens.width * (2 * cells if tokens.storage == "float16" else cells + 2)


def saved_by_coarse(spec: FeatureSpec) -> int:
    """Bytes less of a frame that is coarse."""
    return token_bytes(spec, coarse=False) - token_bytes(spec, coarse=True)


def tiers_document(camera: Path, snapshot: MemorySnapshot) -> dict[str, Any]:
    """Frames and bytes of their tokens by tier, JSON-able."""
    coarse = coarse_frames(camera, snapshot)
    counts = {"full": snapshot.frames - coarse, "coarse": coarse}
    return {
        name: {"frames": frames, "token_bytes": frames * token_bytes(snapshot.spec, coarse=name == "coarse")}
        for name, frames in counts.items()
    }
