"""Copies of the golden checkpoints in the published layout, changed for a test."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from afterview.model.base.checkpoint_files import SINGLE_FILE

GOLDEN = Path(__file__).parents[1] / "golden" / "hour_llava"
TIED, UNTIED = GOLDEN / "tied_36_frames", GOLDEN / "untied_70_frames"


def copied(source: Path, tmp_path: Path, *, config: dict[str, Any] | None = None) -> Path:
    """A copy of a checkpoint with some configuration keys replaced (None removes one)."""
    place = tmp_path / "checkpoint"
    shutil.copytree(source, place)
    values = json.loads((place / "config.json").read_text()) | (config or {})
    (place / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    return place


def rewrite(place: Path, change: dict[str, Tensor | None]) -> None:
    """Replace (None: remove) tensors of a copied checkpoint."""
    tensors = load_file(place / SINGLE_FILE) | change
    (place / SINGLE_FILE).unlink()  # not overwritten: loaded tensors may still be mapped from it
    save_file({name: t for name, t in tensors.items() if t is not None}, place / SINGLE_FILE)
