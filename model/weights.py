"""Reads safetensors checkpoints tensor by tensor, checks every name and shape, and puts each tensor straight where it belongs.

Modules are built on the meta device; a tensor goes from its file to the target dtype and device with no second copy of the model.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from model.errors import CheckpointError, DamagedCheckpoint, TensorMismatch
from model.hub import Location

SINGLE_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
FINGERPRINT_BYTES = 32 * 1024  # of each tensor's start and end: enough to tell trained weights apart, cheap at any size


class Target(NamedTuple):
    """Where weights go, and in which dtype."""

    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class Source:
    """A tensor that can be had: from a file, or drawn from a seed. Neither call keeps it."""

    shape: Callable[[], tuple[int, ...]]
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class Slot:
    """Where a parameter lives: an attribute of a module."""

    owner: nn.Module
    attribute: str

    @property
    def value(self) -> Tensor:
        """The tensor that stands there now."""
        return getattr(self.owner, self.attribute)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the module expects."""
        return tuple(self.value.shape)

    def put(self, tensor: Tensor) -> None:
        """Replace the parameter; gradients are off until training turns them on."""
        setattr(self.owner, self.attribute, nn.Parameter(tensor, requires_grad=False))


def slots_of(root: nn.Module, prefix: str = "") -> dict[str, Slot]:
    """Every parameter of `root` by its name in the checkpoint: `prefix` and the module path."""
    return {
        f"{prefix}{path}.{attribute}" if path else f"{prefix}{attribute}": Slot(module, attribute)
        for path, module in root.named_modules()
        for attribute, parameter in module._parameters.items()
        if parameter is not None
    }


def open_tensors(location: Location) -> dict[str, Source]:
    """The tensors of a checkpoint by name: one safetensors file, or shards that an index names, each opened when first needed.

    Raises CheckpointError where there are no safetensors, DamagedCheckpoint where a file is missing, unreadable or truncated.
    """
    index = location.find(INDEX_FILE)
    if index is None and location.find(SINGLE_FILE) is None:
        raise CheckpointError(
            f"{location.name}: neither {SINGLE_FILE} nor {INDEX_FILE} is there; only safetensors are read"
        )
    shard = cache(lambda file: _Shard(location, file))
    if index is None:
        shard_of = dict.fromkeys(shard(SINGLE_FILE).names, SINGLE_FILE)
    else:
        shard_of = read_json(index).get("weight_map") or {}
    if not shard_of:
        raise DamagedCheckpoint(f"{location.name}: names no tensors; download it again")

    def source(name: str, file: str) -> Source:
        return Source(shape=lambda: shard(file).shape(name), read=lambda: shard(file).read(name))

    return {name: source(name, file) for name, file in shard_of.items()}


class _Shard:
    """One open safetensors file."""

    def __init__(self, location: Location, file: str) -> None:
        path = location.find(file)
        if path is None:
            raise DamagedCheckpoint(f"{location.name}: {file} is missing, though the index names it; download it")
        try:
            self._file: Any = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedCheckpoint(f"{path}: truncated or not safetensors ({reason}); download it again") from None
        self._path = path
        self.names = frozenset(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        self._require(name)
        return tuple(self._file.get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        self._require(name)
        return self._file.get_tensor(name)

    def _require(self, name: str) -> None:
        if name not in self.names:
            raise DamagedCheckpoint(f"{self._path}: lacks '{name}', which the index says it holds; download it again")


def check(slots: Mapping[str, Slot], sources: Mapping[str, Source], *, where: str) -> None:
    """Raise TensorMismatch unless there is exactly one source of the right shape for every slot, and none besides."""
    shapes = {name: (sources[name].shape(), slots[name].shape) for name in sorted(slots.keys() & sources.keys())}
    report = {
        "missing": sorted(slots.keys() - sources.keys()),
        "unexpected": sorted(sources.keys() - slots.keys()),
        "of another shape": [f"{n}: {list(got)}, not {list(want)}" for n, (got, want) in shapes.items() if got != want],
    }
    found = [f"{len(names)} {what} ({_some(names)})" for what, names in report.items() if names]
    if found:
        raise TensorMismatch(
            f"{where}: its tensors do not fit its config.json: {', '.join(found)}; "
            "download the checkpoint again, or correct config.json"
        )


def fill(slots: Mapping[str, Slot], sources: Mapping[str, Source], target: Target) -> str:
    """Put each tensor in its slot on the target. Returns the weights' fingerprint, taken as they pass.

    The fingerprint covers names, stored dtypes, shapes and each tensor's first and last bytes: it names a model in an answer's
    provenance. A memory's features are tied to their tower by `digest`, which covers every byte.
    """
    state = hashlib.sha256()
    for name in sorted(slots):
        tensor = sources[name].read()
        raw = _describe(state, name, tensor)
        state.update(raw[:FINGERPRINT_BYTES])
        state.update(raw[-FINGERPRINT_BYTES:])
        slots[name].put(tensor.to(device=target.device, dtype=target.dtype))
    return f"sha256:{state.hexdigest()}"


def digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """sha256 over the names, dtypes, shapes and every byte of tensors as stored, in the order given."""
    state = hashlib.sha256()
    for name, tensor in tensors:
        state.update(_describe(state, name, tensor))
    return f"sha256:{state.hexdigest()}"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises DamagedCheckpoint naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedCheckpoint(f"{path}: not readable as JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise DamagedCheckpoint(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def _describe(state: Any, name: str, tensor: Tensor) -> Any:
    """Add a tensor's name, dtype and shape to the hash; returns its bytes as a flat array."""
    state.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def _some(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
