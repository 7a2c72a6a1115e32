"""Which parameters learn, and at which rate. A part without a rate, or with rate 0, is frozen: it has no gradient and
is not in the optimizer.

Published Hour-LLaVA code ignores per-module rates under its shipped configuration. Here each part is a parameter group
of the optimizer, and a test reads the rates from it.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import torch
from torch import nn

from afterview.model.video_language import VideoLanguageModel
from afterview.training.base.errors import TrainingError
from afterview.training.core.lora import lora_parameters

MODEL_PARTS: Final = ("vision", "projector", "memaug", "language")  # keys of `parts_of`


def parts_of(model: VideoLanguageModel, tower: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The parameters of a whole model by part. Newline and token embeddings belong to the projector, because they live in the same space.

    The tower's post_layernorm is excluded: it is stored with the tower but unused. With LoRA, the decoder's part is its updates alone.
    """
    embeddings = [] if model.token_embeddings is None else list(model.token_embeddings.parameters())
    if model.newline is not None:
        embeddings.insert(0, model.newline)
    return {
        "vision": [value for name, value in tower.named_parameters() if not name.startswith("post_layernorm.")],
        "projector": [*model.projector.parameters(), *embeddings],
        "memaug": list(model.memaug.parameters()),
        "language": lora_parameters(model.language) or list(model.language.parameters()),
    }


def fault_of(rates: Mapping[str, float], parts: Collection[str]) -> str | None:
    """What is wrong with the rates for a model with these parts, or None."""
    if unknown := sorted(rates.keys() - set(parts)):
        return f"learning_rates: no part is called '{unknown[0]}'; there are: {', '.join(parts)}"
    return None if any(rates.values()) else "learning_rates: every part is frozen, so nothing would learn"


def parameter_groups(
    parts: Mapping[str, list[nn.Parameter]], rates: Mapping[str, float], *, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """One optimizer group for each part that learns. Enables gradients for these parameters and disables all others.

    Raises TrainingError for a rate of an unknown part, and if nothing would learn.
    """
    if fault := fault_of(rates, parts):
        raise TrainingError(fault)
    groups = []
    for name, parameters in parts.items():
        rate = rates.get(name, 0.0)
        for parameter in parameters:
            parameter.requires_grad_(rate > 0)
        if rate > 0 and parameters:
            groups.append({"params": parameters, "lr": rate, "part": name, "weight_decay": weight_decay})
    if not groups:
        raise TrainingError("learning_rates: the parts that would learn have no parameters")
    return groups


def rates_of(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The present rate of every part in the optimizer."""
    return {group["part"]: float(group["lr"]) for group in optimizer.param_groups}
