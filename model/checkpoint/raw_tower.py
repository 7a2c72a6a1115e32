"""A UMT-L alone, as it is published for training: one file with the tower's tensors under names without prefix."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from afterview.model.base.checkpoint_files import RAW_FILE, SINGLE_FILE
from afterview.model.base.errors import CheckpointError, DamagedCheckpoint
from afterview.model.checkpoint.hub import locate
from afterview.model.checkpoint.published import VIDEOCHAT_FLASH
from afterview.model.checkpoint.weights import TensorSource, in_memory, read_torch_file

_FILES = (RAW_FILE, SINGLE_FILE)
_PREFIX = "encoder."  # other tensors are those of other parts, and are ignored as in the published code
_BLOCKS = 23  # of 24: the last one does not run (mm_vision_select_layer -2)


def read_raw_tower(place: str) -> Mapping[str, TensorSource]:
    """The tensors of a UMT-L by their names in a whole checkpoint. place: its file, or the directory or hub id where it lies.

    Raises CheckpointError if there is no such file, or no tower in it.
    """
    path = _find(place)
    stored = {n: t for n, t in _read(path).items() if n.startswith(_PREFIX) and not _beyond(n)}
    if not stored:
        raise CheckpointError(
            f"{path}: holds no tensors of a UMT-L (none is called {_PREFIX}...); give {RAW_FILE} of the published encoders"
        )
    return {f"{VIDEOCHAT_FLASH.tower}{_published(name)}": in_memory(tensor) for name, tensor in stored.items()}


def _find(place: str) -> Path:
    path = Path(place).expanduser()
    if path.is_file():
        return path
    location = locate(place)
    for file in _FILES:
        if (found := location.find(file)) is not None:
            return found
    raise CheckpointError(
        f"{location.name}: holds no UMT-L: none of {', '.join(_FILES)} is there; give the file itself"
    )


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix != ".safetensors":
        return read_torch_file(path, prefix=_PREFIX)
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        raise DamagedCheckpoint(f"{path}: truncated, or no safetensors file; download it again") from None


def _beyond(name: str) -> bool:
    """Whether a tensor belongs to a block that does not run."""
    parts = name.split(".")
    return parts[1] == "blocks" and parts[2].isdigit() and int(parts[2]) >= _BLOCKS


def _published(name: str) -> str:
    return name.replace(f"{_PREFIX}norm.", f"{_PREFIX}vision_layernorm.")
