"""The files of a bank: how they are called, and what they say of themselves. See training.data.features."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from afterview.memory.base.durable import fsync_directory, make_directory, replacing
from afterview.training.base.errors import DataError

SUFFIX = ".safetensors"
Take = Callable[[int, float], NDArray[np.int64]]  # rows and seconds of a video -> the rows to read


@dataclass(frozen=True)
class Header:
    """What a file of a bank says of itself. name: None in a file of an earlier version. shape: of its tensor."""

    kind: str
    name: str | None
    source: str
    damage: str
    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> Header:
    """What a file says of itself. Raises OSError, SafetensorError or ValueError."""
    with safe_open(path, framework="pt") as file:
        kinds, known = list(file.keys()), file.metadata() or {}
        if len(kinds) != 1 or "seconds" not in known:
            raise ValueError("not a file of a bank")
        found = file.get_slice(kinds[0])
        dtype = {"F16": "float16", "U8": "uint8"}.get(found.get_dtype(), found.get_dtype())
        return Header(
            kinds[0],
            known.get("name"),
            known.get("source", ""),
            known.get("damage", ""),
            dtype,
            tuple(found.get_shape()),
        )


def bank_name(video: str) -> str:
    """A video's name in a bank: its path below the root of the data. Raises DataError for a path that is not below one."""
    name = os.path.normpath(video) if video.strip() else ""
    if not name or os.path.isabs(name) or name.split(os.sep)[0] == os.pardir or name == os.curdir:
        raise DataError(f"'{video}' is no path below the root of the data, and a bank knows videos by that")
    return name


def feature_path(directory: Path, video: str) -> Path:
    """Path of a video's file in the bank."""
    return directory / f"{bank_name(video)}{SUFFIX}"


def legacy_path(directory: Path, video: str) -> Path:
    """Path that versions up to 0.1 gave it."""
    return directory / f"{Path(video).stem}{SUFFIX}"


def is_legacy(path: Path) -> bool:
    """Whether this is a readable file of an earlier version, which does not know its video's name."""
    try:
        return read_header(path).name is None
    except (OSError, SafetensorError, ValueError):
        return False


def rename(old: Path, path: Path, video: str) -> None:
    """Give a file of an earlier version its new name, in its metadata, too."""
    with safe_open(old, framework="pt") as file:
        tensors = {kind: file.get_tensor(kind).clone() for kind in file.keys()}  # noqa: SIM118
        metadata = {**(file.metadata() or {}), "name": video}
    save(path, tensors, metadata)
    old.unlink()
    fsync_directory(old.parent)


def save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a file of a bank, and the directories that its name has."""
    make_directory(path.parent)
    with replacing(path) as partial:
        save_file(tensors, partial, metadata=metadata)


def taken(part: Any, rows: NDArray[np.int64]) -> Tensor:
    """These rows of a tensor in a file; a repeated one is read once."""
    once, places = np.unique(rows, return_inverse=True)
    return torch.cat([part[row : row + 1] for row in once.tolist()])[torch.from_numpy(places)]
