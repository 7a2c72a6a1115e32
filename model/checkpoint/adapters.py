"""PEFT adapters: LoRA, rsLoRA and DoRA merged into the weights of their base, tensor by tensor, while these are read.

Layouts: an adapter as PEFT saves it (adapter_config.json with adapter_model.safetensors or .bin), and the published LoRA layout of LLaVA
and Hour-LLaVA, which has config.json and `non_lora_trainables.bin` (projector, MemAug, newline) beside it. It is merged in float32, then
rounded to the base's dtype. Adapters of other types are merged by the library peft, after loading (model.checkpoint.other_adapters).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from afterview.configs import first_problem
from afterview.model.base.checkpoint_files import ADAPTER_CONFIG, ADAPTER_FILE, ADAPTER_TORCH_FILE, OTHER_TRAINED
from afterview.model.base.errors import CheckpointError, DamagedCheckpoint, TensorMismatch
from afterview.model.checkpoint.hub import Location, find_optional
from afterview.model.checkpoint.weights import TensorSource, in_memory, read_json, read_torch_file

LORA = "LORA"

# Initialisations that also change the base's weights, so the adapter does not fit the base as published.
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")
_PARTS = {
    "lora_A.weight": "a", "lora_B.weight": "b", "lora_embedding_A": "a", "lora_embedding_B": "b", "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
}  # fmt: skip
_PART = re.compile(rf"(.*)\.({'|'.join(re.escape(part) for part in sorted(_PARTS, key=len, reverse=True))})")


class AdapterConfig(BaseModel):
    """What adapter_config.json says. Keys that only training reads are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    peft_type: str
    base_model_name_or_path: str | None = None
    lora_alpha: float = 8
    alpha_pattern: dict[str, float] = Field(default_factory=dict)
    use_rslora: bool = False
    init_lora_weights: bool | str | None = True
    layer_replication: list[Any] | None = None
    alora_invocation_tokens: list[int] | None = None

    def scale(self, module: str, rank: int) -> float:
        """The factor of a module's update."""
        alpha = self.lora_alpha
        for pattern, value in self.alpha_pattern.items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                alpha = value
                break
        return alpha / rank**0.5 if self.use_rslora else alpha / rank


@dataclass
class _Update:
    """The low-rank update of one weight. embedding: A and B are those of an embedding, transposed."""

    embedding: bool = False
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Adapter:
    """An adapter that has been read. whole: tensors that it replaces, by published name."""

    name: str
    file: Path  # with its tensors; adapter_config.json lies beside it
    config: AdapterConfig
    updates: Mapping[str, _Update]
    whole: Mapping[str, Tensor]

    @property
    def merged_by_peft(self) -> bool:
        """Whether the library peft must merge it, after loading."""
        return self.config.peft_type != LORA


def read_adapter_config(location: Location) -> AdapterConfig | None:
    """adapter_config.json; None if there is none. Raises CheckpointError."""
    path = location.find(ADAPTER_CONFIG)
    if path is None:
        return None
    try:
        return AdapterConfig.model_validate(read_json(path))
    except ValidationError as error:
        raise CheckpointError(
            f"{location.name}: {ADAPTER_CONFIG}: {first_problem(error)}; copy the adapter again"
        ) from None


def read_adapter(location: Location, config: AdapterConfig) -> Adapter:
    """Read an adapter. Raises CheckpointError for what cannot be merged, DamagedCheckpoint for files that cannot be read."""
    whole, file = _other_trained(location), _file(location)
    if config.peft_type != LORA:
        return Adapter(location.name, file, config, {}, whole)
    _require_mergeable(config, location.name)
    updates: dict[str, _Update] = {}
    for stored, tensor in _tensors(file).items():
        name = _published_name(stored)
        if match := _PART.fullmatch(name):
            update = updates.setdefault(match[1], _Update(embedding=".lora_embedding_" in name))
            update.parts[_PARTS[match[2]]] = tensor
        elif "lora_" in name or "trainable_tokens" in name:
            raise CheckpointError(
                f"{location.name}: '{stored}' is of a kind of adapter that is not merged; merge it with peft first"
            )
        else:
            whole[name] = tensor
    lacking = [name for name, update in updates.items() if not {"a", "b"} <= update.parts.keys()]
    if lacking:
        raise DamagedCheckpoint(
            f"{location.name}: holds only one half of the update of {lacking[0]}; download it again"
        )
    return Adapter(location.name, file, config, updates, whole)


def merged(base: Mapping[str, TensorSource], adapter: Adapter, *, where: str) -> dict[str, TensorSource]:
    """The base's tensors with the adapter in them. Each is computed when it is read. Raises TensorMismatch if they do not fit."""
    tensors = {**base, **{name: in_memory(tensor) for name, tensor in adapter.whole.items()}}
    for module, update in adapter.updates.items():
        name = f"{module}.weight"
        if name not in tensors:
            raise TensorMismatch(
                f"{adapter.name}: changes {module}, which {where} does not have: it is an adapter of another model; give its base "
                "(base_model_name_or_path in adapter_config.json, or `checkpoint` beside `adapter` in a preset file)"
            )
        a, b = update.parts["a"], update.parts["b"]
        shape, fits = tensors[name].shape(), (a.shape[1], b.shape[0]) if update.embedding else (b.shape[0], a.shape[1])
        if shape != fits or a.shape[0] != b.shape[1]:
            raise TensorMismatch(
                f"{adapter.name}: its update of {module} is {list(b.shape)} times {list(a.shape)}, but the weight in {where} is "
                f"{list(shape)}; give its base"
            )
        scale = adapter.config.scale(module, a.shape[0])
        tensors[name] = _updated(tensors[name], update, scale)
    return tensors


def _updated(base: TensorSource, update: _Update, scale: float) -> TensorSource:
    def pieces() -> Iterator[Tensor]:
        weight = base.read()
        a, b = update.parts["a"].float(), update.parts["b"].float()
        changed = weight.float() + scale * ((b @ a).T if update.embedding else b @ a)
        if "magnitude" in update.parts:  # DoRA: the update turns each row, the magnitude sets its length
            changed *= (update.parts["magnitude"].float() / torch.linalg.norm(changed, dim=1))[:, None]
        yield changed.to(weight.dtype).reshape(-1)

    return TensorSource(shape=base.shape, pieces=pieces)


def _require_mergeable(config: AdapterConfig, name: str) -> None:
    start = str(config.init_lora_weights).lower()
    if start.startswith(_CHANGES_BASE):
        raise CheckpointError(
            f"{name}: {ADAPTER_CONFIG}: init_lora_weights '{start}' changed the base as well, so the adapter does not fit it; convert it "
            "with peft (save_pretrained with path_initial_model_for_weight_conversion)"
        )
    for key in ("layer_replication", "alora_invocation_tokens"):
        if getattr(config, key):
            raise CheckpointError(
                f"{name}: {ADAPTER_CONFIG}: {key} is not supported; an adapter with it cannot be merged here"
            )


def _published_name(stored: str) -> str:
    """A tensor's name in the published layout: without what PEFT puts around it."""
    name = (
        stored.removeprefix("base_model.model.")
        .replace(".modules_to_save.default.", ".")
        .replace(".modules_to_save.", ".")
    )
    name = name.replace(".base_layer.", ".").replace(".default.", ".").removesuffix(".default")
    return name.removeprefix("model.") if name.startswith("model.model.") else name


def _file(location: Location) -> Path:
    """The file with the adapter's tensors, fetched if necessary; PEFT's order. The others lie beside it."""
    path = location.find(ADAPTER_FILE) or location.find(ADAPTER_TORCH_FILE)
    if path is None:
        raise DamagedCheckpoint(
            f"{location.name}: {ADAPTER_FILE} is missing, though {ADAPTER_CONFIG} is there; copy the whole adapter"
        )
    return path


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".bin":
        return read_torch_file(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        raise DamagedCheckpoint(f"{path}: truncated, or no safetensors file; download it again") from None


def _other_trained(location: Location) -> dict[str, Tensor]:
    """What was trained as a whole beside the LoRA, in the published layout."""
    path = find_optional(location, OTHER_TRAINED).get(OTHER_TRAINED)
    return {} if path is None else {_published_name(name): tensor for name, tensor in read_torch_file(path).items()}
