"""Preset files of small models that tests draw from a seed."""

from pathlib import Path
from typing import Any

import yaml

FORGETTING = {"spatial": "uniform", "temporal": "uniform", "max_frames": 8, "min_frames": 4}
GEOMETRY = {
    "vision": {"width": 48, "layers": 2, "heads": 4, "mlp_width": 96, "image_size": 72, "patch_size": 8},
    "language": {"width": 64, "layers": 4, "heads": 4, "key_value_heads": 2, "mlp_width": 96},
    "index_vision": {"width": 32, "layers": 1, "heads": 2, "mlp_width": 64, "image_size": 64, "patch_size": 16},
    "index_text": {"width": 32, "layers": 1, "heads": 2, "mlp_width": 64, "positions": 64},
}


def write_preset(directory: Path, *, geometry: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A preset file of random weights: the small geometry with parts of it replaced, and keys of the preset replaced."""
    preset = {
        "name": "mine",
        "trained": False,
        "notice": "random weights",
        "index_encoder": None,
        "seed": 3,
        "architecture": GEOMETRY | (geometry or {}),
        "forgetting": FORGETTING,
        "recall": {"budget": 96, "window": 4, "nearest": 4},
        "max_new_tokens": 5,
    }
    path = directory / "mine.yaml"
    path.write_text(yaml.safe_dump(preset | changes))
    return path
