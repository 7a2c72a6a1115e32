"""Loads what questions are asked of: a whole model, or one that only finds frames."""

from pathlib import Path
from typing import TypeAlias

import torch

from afterview.model.checkpoint.finding import FindingModel
from afterview.model.checkpoint.loading import load_encoders, load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import find_preset

AskedModel: TypeAlias = AfterviewModel | FindingModel


def load_for_questions(
    name_or_path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    index_encoder: str | None = None,
    recorded_index: str | None = None,
) -> AskedModel:
    """A whole model as `load_pretrained` has it, or the encoders of one without a language model. Arguments and errors are its."""
    load = load_encoders if find_preset(name_or_path).finds_only else load_pretrained
    loaded = load(name_or_path, device=device, dtype=dtype, index_encoder=index_encoder, recorded_index=recorded_index)
    return loaded if isinstance(loaded, AfterviewModel) else FindingModel(loaded)
