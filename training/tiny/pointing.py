"""Gives a model pointers that its tokenizer lacks (model.language.moments), for lessons that teach them."""

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import nn

from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.moments import MOMENT
from afterview.model.language.prompt import require_tokenizer
from afterview.training.base.errors import TrainingError


def with_pointers(model: AfterviewModel, wanted: Collection[str]) -> AfterviewModel:
    """The model with these tokens at the end of its vocabulary; its tokenizer and its network grow in place.

    A new token is read as MOMENT is, and nothing calls for it yet: its row of the head is 0. Raises TrainingError for a model without
    MOMENT.
    """
    tokenizer = require_tokenizer(model.tokenizer)
    vocabulary = tokenizer.get_vocab()
    if not (lacking := [name for name in wanted if name not in vocabulary]):
        return model
    if MOMENT not in vocabulary:
        raise TrainingError(
            f"model {model.preset.reference} has no token {MOMENT}; these lessons are for the built-in model and those made like it"
        )
    tokenizer.add_tokens(lacking, special_tokens=True)
    decoder = model.video_language.language.decoder
    rows, alike = len(tokenizer), decoder.model.embed_tokens.weight[vocabulary[MOMENT]]
    decoder.model.embed_tokens.weight = _grown(decoder.model.embed_tokens.weight, rows, alike)
    decoder.lm_head.weight = _grown(decoder.lm_head.weight, rows, torch.zeros_like(alike))
    decoder.config.vocab_size = decoder.lm_head.out_features = decoder.model.embed_tokens.num_embeddings = rows
    return replace(model, config={**model.config, "vocab_size": rows})


def _grown(weights: nn.Parameter, rows: int, new: torch.Tensor) -> nn.Parameter:
    added = new.detach().expand(max(rows - len(weights), 0), -1)
    return nn.Parameter(torch.cat([weights.detach(), added]), requires_grad=weights.requires_grad)
