"""Small random models for tests, and their preset files."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel

FORGETTING = {"spatial": "uniform", "temporal": "uniform", "max_frames": 8, "min_frames": 4}
GEOMETRY = {
    "vision": {"width": 48, "layers": 2, "heads": 4, "mlp_width": 96, "image_size": 72, "patch_size": 8},
    "language": {"width": 64, "layers": 4, "heads": 4, "key_value_heads": 2, "mlp_width": 96},
    "index_vision": {"width": 32, "layers": 1, "heads": 2, "mlp_width": 64, "image_size": 64, "patch_size": 16},
    "index_text": {"width": 32, "layers": 1, "heads": 2, "mlp_width": 64, "positions": 64},
}


def write_preset(directory: Path, *, geometry: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A preset file with random weights: the small geometry with parts replaced by `geometry`, and keys of the preset by `changes`."""
    preset: dict[str, Any] = {
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
    preset |= changes
    path = directory / f"{preset['name']}.yaml"
    path.write_text(yaml.safe_dump(preset))
    return path


def write_toy(directory: Path) -> Path:
    """A preset called `toy`, small enough to train in a test: 64 tokens of width 32 from frames of 64 pixels. It knows only toys."""
    tower = {"width": 32, "layers": 1, "heads": 2, "mlp_width": 64, "image_size": 64, "patch_size": 8}
    language = {"width": 32, "layers": 2, "heads": 2, "key_value_heads": 1, "mlp_width": 64}
    forgetting = {"spatial": "random", "max_frames": 8, "min_frames": 2}
    geometry = {"vision": tower, "language": language, "index_vision": tower}
    scope = {"summary": "toys", "examples": ["Was there a toy?"], "things": "toy", "words": "was there"}
    return write_preset(directory, name="toy", geometry=geometry, forgetting=forgetting, memaug_depth=2, scope=scope)


def small_model() -> AfterviewModel:
    """A random model in float32: tokens of width 96 from frames of 64 pixels, an index of width 96, a decoder of width 128."""
    tower = {"width": 96, "layers": 3, "heads": 4, "mlp_width": 384, "image_size": 64, "patch_size": 8}
    geometry = {
        "vision": tower,
        "language": {"width": 128, "layers": 3, "heads": 2, "key_value_heads": 2, "mlp_width": 384},
        "index_vision": tower,
        "index_text": {"width": 96, "layers": 3, "heads": 4, "mlp_width": 384, "positions": 128},
    }
    with TemporaryDirectory() as directory:
        return load_pretrained(write_preset(Path(directory), geometry=geometry), device="cpu", dtype="float32")
