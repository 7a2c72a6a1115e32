"""Fingerprints that tell runs apart: of files, and of a model with its settings."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
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
        parts[name] = file_fingerprint(path)
    return values_fingerprint(parts)


def file_fingerprint(path: Path) -> str:
    """Size and sha256 of a file's content; above 64 MiB of its two ends."""
    state = path.stat()
    return f"{state.st_size} {_content(path, state.st_size, state.st_mtime_ns)}"


def values_fingerprint(values: Any) -> str:
    """sha256 of JSON-able values."""
    return "sha256:" + hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def model_settings(model: "AfterviewModel") -> Mapping[str, Any]:
    """What, beside the weights, an answer depends on: the preset (visibility, recall, positions ...) and how answers are generated."""
    return {
        "preset": values_fingerprint(model.preset.model_dump(mode="json")),
        "generation": model.generation.document(),
    }


@lru_cache(maxsize=100_000)
def _content(path: Path, size: int, changed_ns: int) -> str:
    """changed_ns: a file that was changed is read again."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        if size <= WHOLE:
            while piece := file.read(_END):
                state.update(piece)
        else:
            state.update(file.read(_END))
            file.seek(-_END, 2)
            state.update(file.read(_END))
    return state.hexdigest()
