"""The size of a preset that is part of the package: read from its files."""

import json
from dataclasses import dataclass
from pathlib import Path

from afterview.model.base.settings import POOLED_TOKENS
from afterview.model.catalogue.index_size import FRAMES_PER_HOUR, index_bytes_per_hour, index_width
from afterview.model.checkpoint.preset import ModelPreset


@dataclass(frozen=True)
class BundledSizes:
    """bytes: of its files that are loaded. disk_per_hour: features of one camera; None if they cannot be told."""

    bytes: int
    disk_per_hour: int | None


def bundled_sizes(preset: ModelPreset) -> BundledSizes:
    """Of the checkpoint and the index encoder, both of them directories."""
    places = [Path(place) for place in (preset.checkpoint, preset.index_encoder) if place is not None]
    loaded = sum(path.stat().st_size for place in places for path in place.glob("*.safetensors"))
    try:
        tower = json.loads((places[0] / "vision_tower" / "config.json").read_text(encoding="utf-8"))
        tokens = FRAMES_PER_HOUR * POOLED_TOKENS * int(tower["hidden_size"]) * 2
        return BundledSizes(loaded, tokens + index_bytes_per_hour(index_width(preset)))
    except (OSError, ValueError, KeyError, IndexError):
        return BundledSizes(loaded, None)
