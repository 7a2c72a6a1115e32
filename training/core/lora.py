"""LoRA and its relatives in training: the decoder's weights are frozen, and low-rank updates beside them learn. By the library peft.

Kinds: LoRA (arXiv 2106.09685), with rsLoRA (2312.03732) and DoRA (2402.09353), LoHa (2108.06098) and LoKr (2212.10650).

The result of a training has the updates merged into its weights. They are also kept alone, in the layout of the published LoRA trainings
of LLaVA and Hour-LLaVA, which `--model` merges into their base.
"""

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field, model_validator
from safetensors.torch import save_file
from torch import Tensor, nn

from afterview.configs import Schema, missing_extra
from afterview.memory.base.durable import replacing
from afterview.model.base.checkpoint_files import ADAPTER_CONFIG, ADAPTER_FILE, OTHER_TRAINED
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.published import published_slots
from afterview.model.checkpoint.saving import saved_in, write_json
from afterview.training.base.errors import TrainingError

ADAPTER: Final = "adapter"  # directory of the updates alone, beside the model
_NAME = "default"  # of the adapter in peft
_WRAPPED = "base_model.model."  # before every name in peft's files

_PARAMETER = re.compile(r"\.(lora|hada|lokr)_")
_TYPES: Final = {"lora": "LORA", "dora": "LORA", "loha": "LOHA", "lokr": "LOKR"}

_LOGGER = logging.getLogger(__name__)


class LoraSettings(Schema):
    """Of a stage. Defaults: the published LoRA training of LLaVA."""

    kind: Literal["lora", "dora", "loha", "lokr"] = "lora"
    rank: int = Field(default=128, ge=1)
    alpha: float = Field(default=256.0, gt=0)  # an update counts alpha / rank times; with rslora alpha / sqrt(rank)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    rslora: bool = False  # of lora and dora
    # Linear layers of the decoder, by the last part of their names.
    targets: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), min_length=1
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "LoraSettings":
        if self.rslora and self.kind in ("loha", "lokr"):
            raise ValueError(f"rslora scales the updates of lora and dora, not of {self.kind}")
        return self

    def document(self) -> dict[str, Any]:
        """The keys of peft's configuration."""
        common = {"peft_type": _TYPES[self.kind], "r": self.rank, "target_modules": list(self.targets)}
        if self.kind in ("loha", "lokr"):
            return common | {"alpha": self.alpha, "rank_dropout": self.dropout}
        of_lora = {"lora_alpha": self.alpha, "lora_dropout": self.dropout, "bias": "none"}
        return common | of_lora | {"use_rslora": self.rslora, "use_dora": self.kind == "dora"}


def add_lora(decoder: nn.Module, settings: LoraSettings, *, seed: int) -> None:
    """Put updates beside the decoder's linear layers, in place, and freeze all else of it. At first they change nothing.

    Raises UsageError if peft is not installed, TrainingError for a target that the decoder does not have.
    """
    try:
        from peft import get_peft_config, inject_adapter_in_model  # late: an extra
    except ModuleNotFoundError:
        raise missing_extra("peft", "training a LoRA") from None
    linear = {name.rpartition(".")[2] for name, module in decoder.named_modules() if isinstance(module, nn.Linear)}
    if unknown := [target for target in settings.targets if target not in linear]:
        raise TrainingError(
            f"lora: targets: the decoder has no linear layer '{unknown[0]}'; it has {', '.join(sorted(linear))}"
        )
    config = get_peft_config(settings.document())
    decoder.requires_grad_(False)
    with torch.random.fork_rng():  # the same updates in every process and in a resumed training
        torch.manual_seed(seed)
        inject_adapter_in_model(config, decoder, adapter_name=_NAME)


def lora_parameters(decoder: nn.Module) -> list[nn.Parameter]:
    """The parameters of the updates; none without LoRA."""
    return [value for name, value in decoder.named_parameters() if _PARAMETER.search(name)]


def finish_lora(
    model: AfterviewModel, settings: LoraSettings, learned: Iterable[nn.Parameter], directory: Path
) -> None:
    """Merge the updates into the decoder's weights, in place, and save them alone, with what else was learned, in `directory`.

    They are not saved alone if the model has no checkpoint that they could be added to. Raises NotSaved.
    """
    decoder, preset = model.video_language.language.decoder, model.preset
    updates = _merge(decoder)
    if preset.checkpoint is None or preset.adapter is not None:
        _LOGGER.info(
            "%s: is no checkpoint as it is, so the adapter is saved only in the model that it changes", preset.name
        )
        return
    tied = bool(model.config.get("tie_word_embeddings"))
    slots, wanted = published_slots(model.video_language, model.vision.tower, tied=tied), {id(one) for one in learned}
    other = {name: slot.value.detach().cpu() for name, slot in slots.items() if id(slot.value) in wanted}
    with saved_in(directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ADAPTER_CONFIG).unlink(missing_ok=True)
        with replacing(directory / ADAPTER_FILE) as partial:
            save_file({_WRAPPED + name: value for name, value in updates.items()}, partial, metadata={"format": "pt"})
        with replacing(directory / OTHER_TRAINED) as partial:
            torch.save({_WRAPPED + name: value for name, value in other.items()}, partial)
        write_json(directory / "config.json", model.config)
        write_json(directory / ADAPTER_CONFIG, _document(settings, preset.checkpoint))  # last: before, it is no adapter


def _merge(decoder: nn.Module) -> dict[str, Tensor]:
    """Put the linear layers back, with their updates in them. Returns the updates under the names that peft saves."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # late: an extra

    updates = {
        name.replace(f".{_NAME}", ""): value.detach().cpu().clone()
        for name, value in decoder.named_parameters() if _PARAMETER.search(name)
    }  # fmt: skip
    for name, layer in list(decoder.named_modules()):
        if not isinstance(layer, BaseTunerLayer) or not hasattr(layer, "merge"):
            continue
        layer.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        setattr(decoder.get_submodule(parent), own, layer.get_base_layer())
    return updates


def _document(settings: LoraSettings, base: str) -> dict[str, Any]:
    """adapter_config.json, as peft reads it."""
    return settings.document() | {"task_type": "CAUSAL_LM", "base_model_name_or_path": base, "inference_mode": True}
