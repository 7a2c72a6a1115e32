"""Chooses each token of an answer: the most likely one, or one drawn from the seed. On the CPU, so every device draws the same token.

Legend: V entries of the vocabulary.
"""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from afterview.model.base.generation import GenerationSettings

GREEDY = GenerationSettings()


def choose(logits_V: Tensor, settings: GenerationSettings, said: Collection[int], chance: torch.Generator) -> int:
    """Choose a token from float32 logits. said: tokens of the answer so far; the repetition penalty lowers them. Pure but for `chance`."""
    if settings.repetition_penalty != 1 and said:
        logits_V = _penalised(logits_V, settings.repetition_penalty, said)
    if not settings.sampled:
        return int(logits_V.argmax())
    logits_V = logits_V.cpu() / settings.temperature
    if 0 < settings.top_k < len(logits_V):
        logits_V = logits_V.masked_fill(logits_V < logits_V.topk(settings.top_k).values[-1], -math.inf)
    if settings.top_p < 1:
        logits_V = _nucleus(logits_V, settings.top_p)
    return int(torch.multinomial(logits_V.softmax(-1), 1, generator=chance))


def _penalised(logits_V: Tensor, penalty: float, said: Collection[int]) -> Tensor:
    """Positive logits are divided and negative ones multiplied (arXiv 1909.05858, as in transformers)."""
    places = torch.tensor(sorted(set(said)), device=logits_V.device)
    found = logits_V[places]
    return logits_V.index_copy(0, places, torch.where(found < 0, found * penalty, found / penalty))


def _nucleus(logits_V: Tensor, share: float) -> Tensor:
    """Only the most likely tokens that together have at least `share` of the probability; always at least one."""
    ascending, places = logits_V.sort()
    left_out = ascending.softmax(-1).cumsum(-1) <= 1 - share
    left_out[-1] = False
    return logits_V.masked_fill(torch.zeros_like(left_out).scatter(0, places, left_out), -math.inf)
