"""Fingerprints that tell runs apart: of files, and of a model with its settings."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import AfterviewModel

WHOLE: Final = 64 << 20  # bytes of a file up to which all of it counts
_END: Final = 1 << 20  # bytes at either end of a longer file, whose size counts besides


def files_fingerprint(files: Iterable[Path], root: Path) -> str:
    """sha256 of names (below `root`), sizes and content of files, whatever their order. Of a file above 64 MiB its two ends count."""
    parts = {}
    for path in set(files):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        parts[name] = f"{path.stat().st_size} {_content(path)}"
    return values_fingerprint(parts)


def values_fingerprint(values: Any) -> str:
    """sha256 of JSON-able values."""
    return "sha256:" + hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def model_settings(model: "AfterviewModel") -> Mapping[str, Any]:
    """What, beside the weights, an answer depends on: the preset (visibility, recall, positions ...) and how answers are generated."""
    return {
        "preset": values_fingerprint(model.preset.model_dump(mode="json")),
        "generation": model.generation.document(),
    }


def _content(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        if path.stat().st_size <= WHOLE:
            while piece := file.read(_END):
                state.update(piece)
        else:
            state.update(file.read(_END))
            file.seek(-_END, 2)
            state.update(file.read(_END))
    return state.hexdigest()
