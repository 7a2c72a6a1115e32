"""Reads checkpoints tensor by tensor and puts each tensor directly in its module.

Modules are built on the meta device. A tensor goes from its file to the target device and dtype without a second copy
of the model. Files are read, not memory-mapped: pages of a mapped file would stay resident beside the converted weights
until the last tensor is loaded, and a file that is replaced later would change or crash a running model.
Older checkpoints (.bin) are pickles: only tensors are read from them, and never code. They are mapped while they are read.
"""

import hashlib
import json
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from afterview.configs import kind_of, why_unreadable
from afterview.model.base.checkpoint_files import WEIGHTS
from afterview.model.base.errors import CheckpointError, DamagedCheckpoint, HubUnreachable
from afterview.model.checkpoint.hub import Directory, Location

_LOGGER = logging.getLogger(__name__)

_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
PIECE_BYTES = 8 * 2**20  # read at a time
FINGERPRINT_BYTES = 32 * 1024  # of each tensor's start and end: enough to tell trained weights apart, fast at any size


class Target(NamedTuple):
    """Device and dtype for the weights."""

    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class TensorSource:
    """A tensor that can be read from a file or drawn from a seed. It is not cached.

    pieces: the values in order, flat. Each piece is valid until the next one is requested, so a large tensor is never
    in memory at once.
    """

    shape: Callable[[], tuple[int, ...]]
    pieces: Callable[[], Iterator[Tensor]]

    def read(self) -> Tensor:
        """The stored tensor."""
        return torch.cat([piece.clone() for piece in self.pieces()]).reshape(self.shape())


def in_memory(tensor: Tensor) -> TensorSource:
    """The source of a tensor that was read already."""
    return TensorSource(
        shape=lambda: tuple(tensor.shape), pieces=lambda: iter([tensor.detach().contiguous().reshape(-1)])
    )


@dataclass(frozen=True)
class Slot:
    """The place of a parameter: an attribute of a module."""

    owner: nn.Module
    attribute: str

    @property
    def value(self) -> Tensor:
        """The current tensor."""
        return getattr(self.owner, self.attribute)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the module expects."""
        return tuple(self.value.shape)

    def put(self, tensor: Tensor) -> None:
        """Replace the parameter, without gradient until training enables it."""
        setattr(self.owner, self.attribute, nn.Parameter(tensor, requires_grad=False))


def slots_of(root: nn.Module, prefix: str = "") -> dict[str, Slot]:
    """Every parameter of `root` by its name in the checkpoint: `prefix` plus the module path."""
    return {
        f"{prefix}{path}.{attribute}" if path else f"{prefix}{attribute}": Slot(module, attribute)
        for path, module in root.named_modules()
        for attribute, parameter in module._parameters.items()
        if parameter is not None
    }


def open_tensors(location: Location) -> dict[str, TensorSource]:
    """The tensors of a checkpoint by name: one file, or shards listed in an index. Each file is opened on first use.

    Raises CheckpointError if there are no weights, DamagedCheckpoint for a missing, unreadable or truncated file.
    """
    file = weights_file(location)
    if file is None:
        raise CheckpointError(
            f"{location.name}: holds no weights: none of {', '.join(WEIGHTS)} is there; only these are read"
        )
    _log_other_files(location, file)
    path = location.find(file)
    shard = cache(lambda name: _TorchShard(location, name) if name.endswith(".bin") else _Shard(location, name))
    if not file.endswith(".json"):
        shard_of = dict.fromkeys(shard(file).names, file)
    else:
        assert path is not None, "found above"
        shard_of = read_json(path).get("weight_map") or {}
    if not shard_of:
        raise DamagedCheckpoint(f"{location.name}: names no tensors; download it again")

    def source(name: str, file: str) -> TensorSource:
        return TensorSource(shape=lambda: shard(file).shape(name), pieces=lambda: shard(file).pieces(name))

    return {name: source(name, file) for name, file in shard_of.items()}


def weights_file(location: Location) -> str | None:
    """The file that names the tensors, in the order in which transformers looks for it; None if there is none.

    Raises HubUnreachable if none can be found and the hub cannot say that there is none.
    """
    unreachable: HubUnreachable | None = None
    for file in WEIGHTS:
        try:
            if location.find(file) is not None:
                return file
        except HubUnreachable as error:  # a further one may lie in the cache
            unreachable = unreachable or error
    if unreachable is not None:
        raise unreachable
    return None


def _log_other_files(location: Location, taken: str) -> None:
    """Say which files of weights were not taken: one of them may be newer."""
    if not isinstance(location, Directory):
        return
    others = [file for file in WEIGHTS if file != taken and location.find(file) is not None]
    if others:
        _LOGGER.warning(
            "%s: its weights are taken from %s, as transformers does; not read: %s; delete what is out of date",
            location.name, taken, ", ".join(others),
        )  # fmt: skip
    else:
        _LOGGER.debug("%s: its weights are taken from %s", location.name, taken)


class _Shard:
    """One safetensors file: 8 bytes with the length of the JSON header, the header, then the tensors' bytes."""

    def __init__(self, location: Location, file: str) -> None:
        path = location.find(file)
        if path is None:
            raise DamagedCheckpoint(f"{location.name}: {file} is missing, though the index names it; download it")
        try:
            with safe_open(path, framework="pt"):
                pass  # the library checks that offsets fit the file and each other
            with open(path, "rb") as raw:
                length = int.from_bytes(raw.read(8), "little")
                entries = json.loads(raw.read(length))
        except SafetensorError:
            raise DamagedCheckpoint(f"{path}: truncated, or no safetensors file; download it again") from None
        except OSError as error:
            raise DamagedCheckpoint(f"{path}: cannot be read ({why_unreadable(error)})") from None
        self._path, self._start = path, 8 + length
        self._entries = {name: entry for name, entry in entries.items() if name != "__metadata__"}
        self.names = frozenset(self._entries)
        self._buffer = torch.empty(PIECE_BYTES, dtype=torch.uint8)  # reused for all tensors, to avoid fragmentation

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._entry(name)["shape"])

    def pieces(self, name: str) -> Iterator[Tensor]:
        entry = self._entry(name)
        if entry["dtype"] not in _DTYPES:
            raise CheckpointError(f"{self._path}: '{name}' is stored as {entry['dtype']}, which cannot be weights here")
        first, end = entry["data_offsets"]
        with open(self._path, "rb") as file:
            file.seek(self._start + first)
            for start in range(first, end, PIECE_BYTES):
                piece = self._buffer[: end - start]
                if file.readinto(piece.numpy()) < len(piece):  # type: ignore[arg-type]
                    raise DamagedCheckpoint(f"{self._path}: became shorter while it was read; download it again")
                yield piece.view(_DTYPES[entry["dtype"]])

    def _entry(self, name: str) -> Mapping[str, Any]:
        if name not in self._entries:
            raise DamagedCheckpoint(f"{self._path}: lacks '{name}', which the index says it holds; download it again")
        return self._entries[name]


class _TorchShard:
    """One file written by torch.save: a pickle, of which only tensors are read."""

    def __init__(self, location: Location, file: str) -> None:
        path = location.find(file)
        if path is None:
            raise DamagedCheckpoint(f"{location.name}: {file} is missing, though the index names it; download it")
        self._path, self._tensors = path, read_torch_file(path)
        self.names = frozenset(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensor(name).shape)

    def pieces(self, name: str) -> Iterator[Tensor]:
        tensor = self._tensor(name)
        if tensor.dtype not in _DTYPES.values():
            raise CheckpointError(f"{self._path}: '{name}' is stored as {tensor.dtype}, which cannot be weights here")
        yield from tensor.detach().reshape(-1).split(PIECE_BYTES // tensor.element_size())

    def _tensor(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise DamagedCheckpoint(f"{self._path}: lacks '{name}', which the index says it holds; download it again")
        return self._tensors[name]


def read_torch_file(path: Path, *, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a file written by torch.save, by name: those whose name starts with `prefix`. Runs no code of the file.

    Raises CheckpointError if it holds other things than tensors, DamagedCheckpoint if it cannot be read.
    """
    remedy = "convert it to safetensors where you trust it (transformers' save_pretrained writes them)"
    try:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # written before torch 1.6: not a zip file, so it cannot be mapped
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: cannot be read ({why_unreadable(error)})") from None
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path}: holds Python objects besides tensors, which are not read; {remedy}") from None
    except Exception as error:  # torch raises many types for a damaged file
        raise DamagedCheckpoint(f"{path}: truncated, or no file of torch.save; download it again") from error
    if isinstance(found, dict):
        found = {name: value for name, value in found.items() if str(name).startswith(prefix)}
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path}: holds {kind_of(found)} instead of tensors by name; {remedy}")
    return found


def fill(slots: Mapping[str, Slot], sources: Mapping[str, TensorSource], target: Target) -> str:
    """Load each tensor into its slot on the target. Returns the fingerprint of the weights.

    The fingerprint covers names, stored dtypes, shapes and the first and last bytes of each tensor. It names a model in
    an answer's provenance. `digest`, which covers every byte, ties a memory's features to their tower.
    """
    state = hashlib.sha256()
    for name in sorted(slots):
        value = torch.empty(slots[name].shape, device=target.device, dtype=target.dtype)
        head, tail, done = b"", b"", 0
        for piece in sources[name].pieces():
            if not done:
                state.update(_description(name, piece.dtype, value.shape))
                head = _bytes_of(piece)[:FINGERPRINT_BYTES].tobytes()
            tail = (tail + _bytes_of(piece)[-FINGERPRINT_BYTES:].tobytes())[-FINGERPRINT_BYTES:]
            value.view(-1)[done : done + len(piece)] = piece.to(value.device)
            done += len(piece)
        state.update(head + tail)
        slots[name].put(value)
    return f"sha256:{state.hexdigest()}"


def digest(sources: Iterable[tuple[str, TensorSource]]) -> str:
    """sha256 over names, dtypes, shapes and all bytes of the stored tensors, in the given order."""
    state = hashlib.sha256()
    for name, source in sources:
        for number, piece in enumerate(source.pieces()):
            if not number:
                state.update(_description(name, piece.dtype, source.shape()))
            state.update(_bytes_of(piece).data)
    return f"sha256:{state.hexdigest()}"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises DamagedCheckpoint naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path}: cannot be read ({why_unreadable(error)}); copy it again") from None
    if not isinstance(values, dict):
        raise DamagedCheckpoint(f"{path}: must hold a JSON object, holds {kind_of(values)}; copy it again")
    return values


def _description(name: str, dtype: torch.dtype, shape: Sequence[int]) -> bytes:
    """The part of the hash besides the values."""
    return f"{name}|{dtype}|{list(shape)}|".encode()


def _bytes_of(piece: Tensor) -> NDArray[np.uint8]:
    return piece.view(torch.uint8).numpy()
